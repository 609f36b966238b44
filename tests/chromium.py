"""A headless Chromium of Debian's, for tests and benchmarks; it is asked for nothing beyond this machine."""

import os
import shutil

CHROMIUM, DRIVER = "chromium", "chromedriver"


def absent():
    """Return the programs that are missing here."""
    return [name for name in (CHROMIUM, DRIVER) if shutil.which(name) is None]


def start_chromium(profile):
    """Return a selenium driver; ``get_log("browser")`` has the console's messages.

    Parameters
    ----------
    profile : Path
        A folder for what the browser keeps.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which(CHROMIUM)
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
    return driver
