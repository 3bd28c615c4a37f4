"""MNIST and Fashion-MNIST: from a folder that has the files, else downloaded once from one of several mirrors.

Downloads are checked against MD5 sums.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import DatasetError, unknown
from ._dataset import Dataset
from ._folder import PARTS, file_names, idx_files, read_pair


@dataclass(frozen=True)
class Source:
    """The mirrors of a data set's files, the MD5 sums that its publishers give, and the names of its classes."""

    mirrors: tuple[str, ...]
    md5: dict[str, str]
    classes: tuple[str, ...]


SOURCES = {
    "mnist": Source(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        tuple("0123456789"),
    ),
    "fashion_mnist": Source(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
_TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # the folders that it makes
_TIMEOUT = 5, 15  # seconds to wait for a connection, and for data


def mnist(split: str = "train", folder: "str | os.PathLike[str] | None" = None) -> Dataset:
    """Load handwritten digits, (n, 28, 28) uint8: 60,000 to train on, 10,000 to test (LeCun, Cortes & Burges 1998).

    Args:
        split: "train" or "test".
        folder: where the files are, gzip'd or not. Default `NNX_DATA_DIR` (its folder `mnist`, or itself, whichever has
            both files of the split), else a download into the user's cache.

    Raises:
        DatasetError: the files are missing or damaged, or no mirror has them.
        InputError: there is no such split.
    """
    return _load("mnist", split, folder)


def fashion_mnist(split: str = "train", folder: "str | os.PathLike[str] | None" = None) -> Dataset:
    """Load clothes in MNIST's format (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747).

    Args:
        split: as for `mnist`.
        folder: as for `mnist`; in `NNX_DATA_DIR` the folder is `fashion_mnist`.

    Raises:
        DatasetError: as for `mnist`.
        InputError: as for `mnist`.
    """
    return _load("fashion_mnist", split, folder)


def _load(name: str, split: str, folder: "str | os.PathLike[str] | None") -> Dataset:
    if not isinstance(split, str) or split not in PARTS:
        raise unknown("split", split, PARTS)
    files = file_names(split)
    if folder is not None:
        paths = _in_folders([Path(folder)], split, "folder")
    elif data_dir := os.environ.get("NNX_DATA_DIR"):
        paths = _in_folders(
            [Path(data_dir) / name, Path(data_dir) / _TORCHVISION[name], Path(data_dir)], split, "NNX_DATA_DIR"
        )
    else:
        paths = [_download(name, file) for file in files]
    images, labels = paths
    return read_pair(images, labels, name, SOURCES[name].classes)


def _in_folders(folders: Sequence[Path], split: str, source: str) -> list[Path]:
    """Return both files from the first folder that has both: images of one data set never meet labels of another."""
    for folder in folders:
        found = [path for path in idx_files(folder, split) if path]
        if len(found) == 2:
            return found
    images, labels = file_names(split)
    raise DatasetError(
        f"{' or '.join(map(str, folders))} (from {source}): has no {images}[.gz] together with {labels}[.gz]; put "
        "them there, or choose another folder."
    )


def _download(name: str, file: str) -> Path:
    import pooch
    import requests

    source = SOURCES[name]
    cache = Path(pooch.os_cache("nnx")) / name
    failed = []
    # Pooch downloads to a temporary file and moves it into place only when its checksum is right.
    for mirror in source.mirrors:
        try:
            with closing(_Bar(file)) as bar:
                download = pooch.HTTPDownloader(bar, chunk_size=1 << 16, timeout=_TIMEOUT)
                path = pooch.retrieve(
                    f"{mirror}{file}.gz", f"md5:{source.md5[file]}", fname=f"{file}.gz", path=cache, downloader=download
                )
        except (requests.RequestException, OSError, ValueError) as error:
            failed.append(f"  {mirror}: {_reason(error)}")
        else:
            return Path(path)
    raise DatasetError(
        "\n".join([f"{name}: {file}.gz could not be downloaded.", *failed])
        + "\nCheck the network; or put the data set's four files into a folder, and give that: --dataset FOLDER, "
        "nnx.datasets.load(FOLDER), or NNX_DATA_DIR=FOLDER in the environment."
    )


def _reason(error: Exception) -> str:
    """Say in some words why a download failed."""
    import requests

    text = str(error)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return "its name is not resolved: no network?"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return " ".join(text.split())[:200] or type(error).__name__


class _Bar:
    """A progress bar in the form that pooch expects.

    Pooch sets `total` and calls update, reset and, unless the download fails, close.
    """

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(f"downloading {title}")
        self.total = 0

    def update(self, count: int) -> None:
        if not self._progress.live.is_started:
            self._progress.start()
        self._progress.update(self._task, total=self.total, advance=count)

    def reset(self) -> None:
        self._progress.reset(self._task, total=self.total)

    def close(self) -> None:
        if self._progress.live.is_started:
            self._progress.stop()
