"""One headless Chromium for all tests of this folder."""

import pytest
from chromium import absent, start_chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A selenium driver."""
    if absent():
        pytest.skip(f"Chromium is not installed: no {', '.join(absent())}")
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()
