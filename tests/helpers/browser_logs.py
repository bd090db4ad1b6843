"""Logs of a browser: errors of the console, and what a page asked for."""

from __future__ import annotations

import json
from typing import Any


def errors(browser: Any) -> list[str]:
    """Messages of the console that are errors."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def requests(browser: Any) -> set[str]:
    """Everything that the page asked for, itself included."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
