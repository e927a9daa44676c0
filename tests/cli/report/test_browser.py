"""The report in a real browser: it draws, it prints, and it complains of nothing."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium")


def _open(tmp_path, html, *options):
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        *options,
        page.as_uri(),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


def test_it_is_drawn_without_a_complaint(tmp_path, texts):
    picture = tmp_path / "report.png"
    html = texts["refuted"]
    complaints = _open(
        tmp_path, html, f"--screenshot={picture}", "--window-size=1100,1400", "--hide-scrollbars"
    )
    assert complaints == []
    from matplotlib.image import imread

    pixels = imread(picture)
    assert pixels.shape[:2] == (1400, 1100)
    red, green, blue = (pixels[..., channel] for channel in range(3))
    assert ((red > 0.5) & (green < 0.1) & (blue < 0.2)).mean() > 0.02  # the banner
    assert (pixels[..., :3].mean(axis=2) > 0.9).mean() < 0.97


def test_it_is_printed(tmp_path, texts):
    paper = tmp_path / "report.pdf"
    complaints = _open(
        tmp_path,
        texts["open_questions"],
        "--no-pdf-header-footer",
        f"--print-to-pdf={paper}",
    )
    assert complaints == []
    data = paper.read_bytes()
    assert data.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", data))
    assert 4 <= pages <= 20


def test_a_script_or_a_picture_from_elsewhere_would_be_noticed(tmp_path, texts):
    """That the two tests above can fail: the page's own policy refuses both, and the browser says so."""
    html = texts["open_questions"]
    worse = html.replace(
        "</main>", '<script>document.title = "x"</script><img src="file:///x.png" alt=""></main>'
    )
    complaints = _open(tmp_path, worse, f"--screenshot={tmp_path / 'x.png'}")
    assert len(complaints) == 2
