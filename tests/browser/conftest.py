"""A headless Chromium for all tests of this folder; it is asked for nothing beyond this machine."""

import os
import shutil

import pytest

CHROMIUM, DRIVER = "chromium", "chromedriver"


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A selenium driver of Debian's Chromium; ``browser.get_log("browser")`` has the console's messages."""
    absent = [name for name in (CHROMIUM, DRIVER) if shutil.which(name) is None]
    if absent:
        pytest.skip(f"Chromium is not installed: no {', '.join(absent)}")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which(CHROMIUM)
    profile = tmp_path_factory.mktemp("chromium")
    switches = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                "--window-size=1400,1000", f"--user-data-dir={profile}"]  # fmt: skip
    if os.geteuid() == 0:
        switches.append("--no-sandbox")  # Chromium's sandbox refuses to run as root
    for switch in switches:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which(DRIVER))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()
