"""The link that a local run prints leads to a live page, over loopback."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import daskpar

pytestmark = pytest.mark.browser


def test_the_dashboard_of_a_local_client(browser):
    with daskpar.open_client("local", workers=1) as client:
        link = client.dashboard_link
        assert link.startswith("http://127.0.0.1:")
        browser.get(link)
        WebDriverWait(browser, 30).until(lambda page: page.find_elements(By.CSS_SELECTOR, ".bk-Figure"))
        assert "Dask" in browser.title
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        browser.get("about:blank")  # closes the page's socket before the server goes
    assert not severe
