"""Callbacks that tell what happens: a bar and lines, CSV, TensorBoard."""
from __future__ import annotations

import csv
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .base import Callback, check_every

if TYPE_CHECKING:
    from typing import Any

    from .._types import File


class CSVLogger(Callback):
    """A line for each epoch in a CSV file: epoch, from 0, and the logs by name; NA for what an epoch lacks.

    The file is begun anew, or with append continued, without a second header. A resumed run takes away the lines that its
    checkpoint does not know."""

    def __init__(self, filename: File, separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self.keys: list[str] | None = None
        self.size: int | None = None

    def on_train_begin(self) -> None:
        """A new file, unless lines are to be appended."""
        self.keys = self.size = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Write the line."""
        path = Path(self.filename)
        self.keys = self.keys or sorted(logs)
        if self.size is not None and path.exists():
            os.truncate(path, self.size)
        elif not self.append:
            path.write_bytes(b"")
        header = not path.exists() or not path.stat().st_size
        with open(path, "a", newline="") as file:
            out = csv.writer(file, delimiter=self.separator)
            out.writerows([["epoch", *self.keys]] * header + [[epoch, *(logs.get(k, "NA") for k in self.keys)]])
        self.size = path.stat().st_size

    def state_dict(self) -> dict[str, Any]:
        """The columns, and how long the file is."""
        return {"keys": self.keys, "size": self.size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""
        self.__dict__.update(state)


class TensorBoard(Callback):
    """Event files for TensorBoard, by tensorboardX: epoch_<name> under log_dir/train and log_dir/validation, by epochs, with
    epoch_learning_rate; update_freq: "epoch", or n: also batch_<name> under log_dir/batch after every n steps;
    histogram_freq: every so many epochs a histogram of each parameter, 0 for none.

    ImportError where tensorboardX is not installed. TensorBoard drops what a resumed run writes again."""

    def __init__(self, log_dir: File = "logs", histogram_freq: int = 0, update_freq: int | str = "epoch") -> None:
        check_every("TensorBoard", "update_freq", update_freq)
        if isinstance(histogram_freq, bool) or not isinstance(histogram_freq, int) or histogram_freq < 0:
            raise ValueError(f"TensorBoard: expected histogram_freq of 0 or more, got {histogram_freq!r}")
        self.log_dir, self.histogram_freq, self.update_freq = os.fspath(log_dir), histogram_freq, update_freq
        self.step = 0
        self.writers: dict[str, Any] = {}
        self.purge: dict[str, int] = {}

    def on_train_begin(self) -> None:
        """Steps are counted from here."""
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise ImportError("callbacks.TensorBoard needs tensorboardX: pip install lanewise[tensorboard]") from None
        self.step, self.purge = 0, {}

    def _writer(self, name: str) -> Any:
        if name not in self.writers:
            from tensorboardX import SummaryWriter
            self.writers[name] = SummaryWriter(os.path.join(self.log_dir, name), purge_step=self.purge.get(name))
        return self.writers[name]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Numbers of the step."""
        self.step += 1
        if isinstance(self.update_freq, int) and self.step % self.update_freq == 0:
            for name, value in {**logs, "learning_rate": self.trainer.optimizer.param_groups[0]["lr"]}.items():
                if name != "size":
                    self._writer("batch").add_scalar(f"batch_{name}", value, self.step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Numbers of the epoch."""
        for name, value in {"learning_rate": self.trainer.optimizer.param_groups[0]["lr"], **logs}.items():
            validation = name.startswith("val_")
            self._writer("validation" if validation else "train").add_scalar(
                f"epoch_{name[len('val_'):] if validation else name}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, p in self.model.named_parameters():
                self._writer("train").add_histogram(name, p.data, epoch)
        for writer in self.writers.values():
            writer.flush()

    def on_train_end(self) -> None:
        """Close the files."""
        for writer in self.writers.values():
            writer.close()
        self.writers = {}

    def on_train_error(self, error: BaseException) -> None:
        """Close the files."""
        self.on_train_end()

    def state_dict(self) -> dict[str, Any]:
        """How many steps were made, and the first of each file that is still to come."""
        return {"step": self.step, "purge": {"train": self.trainer.epoch, "validation": self.trainer.epoch,
                                            "batch": self.step + 1}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""
        self.__dict__.update(state)


def _in_notebook() -> bool:
    # Whether a notebook's kernel runs this: that its modules are there says nothing.
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


class ProgressBar(Callback):
    """A line for every finished epoch, and on a terminal or in a notebook a live bar (tqdm) under them for the epoch that runs.

    live: whether there is a bar; None: where there is a terminal or notebook. unit: what a sample is called. `done`: how many
    samples were trained on."""
    BAR = "{desc} |{bar}|"
    UPDATE = 0.1            # seconds between two pictures of the bar

    def __init__(self, live: bool | None = None, unit: str = "samples") -> None:
        self.live = (sys.stderr.isatty() or _in_notebook()) if live is None else live
        self.unit, self.done = unit, 0
        self.bar: Any = None
        self.start, self.shown = time.perf_counter(), 0.0

    def on_train_begin(self) -> None:
        """Start the clock."""
        self.start, self.shown, self.done = time.perf_counter(), 0.0, 0

    def _line(self, epoch: int, logs: dict[str, Any]) -> str:
        words = [f"epoch {epoch + 1:>{len(str(self.params['epochs']))}}/{self.params['epochs']}"]
        for name, value in logs.items():
            if name not in ("size", "learning_rate"):
                share = re.fullmatch(r"(val_)?(accuracy|top\d+)", name)
                words.append(f"{name} {100 * value:5.1f} %" if share else f"{name} {value:.4f}")
        return "  ".join([*words, f"{self.done / max(time.perf_counter() - self.start, 1e-9):9,.0f} {self.unit}/s"])

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Move the bar."""
        self.done += logs["size"]
        if not self.live:
            return
        now = time.perf_counter()
        if self.bar is None:
            from tqdm.auto import tqdm
            total, self.shown = self.params["samples"], now
            self.bar = tqdm(total=total, leave=False, bar_format=self.BAR if total else "{desc}", dynamic_ncols=True,
                            desc=self._line(self.trainer.epoch, logs))
        if batch == 0:
            self.bar.n = 0
        self.bar.n += logs["size"]
        if now - self.shown > self.UPDATE:
            self.bar.set_description_str(self._line(self.trainer.epoch, logs))
            self.shown = now

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Write the line."""
        if self.bar is not None:
            self.bar.clear()
        print(self._line(epoch, logs), flush=True)

    def on_train_end(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def on_train_error(self, error: BaseException) -> None:
        """Take the bar away."""
        self.on_train_end()
