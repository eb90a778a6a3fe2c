"""The exposure log of one day, summed up, and laid aside in parts by user for the join."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from model_release.adapters.exposure_files import named_files
from model_release.exposures import FileName
from model_release.paths import ReleasePaths
from model_release.reconciling.document import LogFacts
from model_release.reconciling.serving import Named
from pipeline.reconciliation.day import Day
from pipeline.reconciliation.lines import blocks, read_block

_PART_BYTES = 256 << 20  # of the log, of one part
_MOST_PARTS = 256
_COVERAGE_AT = 10
_GROUP = ("replica", "run_id", "variant", "generation", "endpoint")
_SHOWN = ("user", "at", "k", "run_id", "variant", "items")
_DONE = ("user", "item", "at", "type")
_KINDS: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("user", "item", "type", "run_id", "variant"), pl.String),
    "at": pl.Datetime("us", "UTC"),
    "k": pl.Int64,
    "items": pl.List(pl.String),
}


@dataclass
class DayLog:
    """What the files of a day say; ``folder`` holds the rows of the day, in parts that have all rows of a user.

    Attributes:
        groups: ``replica``, ``run_id``, ``variant``, ``generation``, ``endpoint``, ``count``, ``first``, ``last``.
        items: ``run_id``, ``variant``, ``item``: each item among the first ten of an answer of ``recommend``.
    """

    folder: Path
    parts: int
    files: int
    replicas: tuple[str, ...]
    gaps: tuple[str, ...]
    groups: pl.DataFrame = field(default_factory=pl.DataFrame)
    items: pl.DataFrame = field(default_factory=pl.DataFrame)
    outcomes: int = 0
    unreadable_files: int = 0
    unreadable_lines: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def read(cls, paths: ReleasePaths, day: Day, folder: Path, *, expected: Sequence[str] = ()) -> DayLog:
        """Read the files of a day, in blocks, and write the rows of the day to ``folder``.

        Args:
            paths: the installation.
            day: which day.
            folder: an empty one.
            expected: replicas, by their names in file names, that must have a file.

        Raises:
            OSError: the folder of the log can't be listed, or ``folder`` takes nothing.
        """
        named = named_files(paths.exposures)
        mine = [(name, path) for name, path in named if name.day in day.utc_days]
        size = sum(_size(path) for _, path in mine)
        own = [name for name, _ in mine if _may_hold(name, day)]
        found = cls(
            folder=folder,
            parts=min(_MOST_PARTS, 1 + size // _PART_BYTES),
            files=len(own),
            replicas=tuple(sorted({name.replica for name in own})),
            gaps=_gaps([name for name, _ in named], own, day, expected),
        )
        for _, path in mine:
            found._file(path, day)
        return found

    @property
    def answers(self) -> int:
        """Answers of the day, of both routes."""
        return int(self.groups["count"].sum()) if self.groups.height else 0

    def facts(self) -> LogFacts:
        """Return what the document says of the log."""
        return LogFacts(
            files=self.files,
            replicas=self.replicas,
            gaps=self.gaps,
            answers=self.answers,
            outcomes=self.outcomes,
            unreadable_files=self.unreadable_files,
            unreadable_lines=self.unreadable_lines,
        )

    def named(self) -> list[Named]:
        """Return which runs the answers of each replica name."""
        if self.groups.is_empty():
            return []
        merged = _merged(self.groups, [name for name in _GROUP if name != "endpoint"])
        return [Named(**row) for row in merged.sort("replica", "generation", "variant", "run_id").to_dicts()]

    def shown(self, part: int) -> pl.DataFrame:
        """Return the answers of ``recommend`` of one part."""
        return self._part("shown", part)

    def done(self, part: int) -> pl.DataFrame:
        """Return the outcomes of one part."""
        return self._part("done", part)

    def part_of(self) -> pl.Expr:
        """Return which part a user belongs to."""
        return (pl.col("user").hash(seed=0) % self.parts).cast(pl.Int64)

    def _part(self, kind: str, part: int) -> pl.DataFrame:
        files = sorted(self.folder.glob(f"{kind}-{part}-*.parquet"))
        if files:
            return pl.read_parquet(files)
        return pl.DataFrame(schema={name: _KINDS[name] for name in (_SHOWN if kind == "shown" else _DONE)})

    def _file(self, path: Path, day: Day) -> None:
        try:
            for block in blocks(path):
                frame, unreadable = read_block(block)
                self.unreadable_lines += unreadable
                self._take(frame.filter(pl.col("at").is_between(day.start, day.end, closed="left")))
        except OSError:  # removed by the retention, or a right is missing
            self.unreadable_files += 1

    def _take(self, frame: pl.DataFrame) -> None:
        answers = frame.filter(pl.col("kind") == "exposure")
        done = frame.filter(pl.col("kind") == "event")
        self.outcomes += done.height
        if answers.height:
            counted = answers.group_by(_GROUP).agg(count=pl.len(), first=pl.col("at").min(), last=pl.col("at").max())
            self.groups = _merged(pl.concat([self.groups, counted]) if self.groups.height else counted, _GROUP)
        shown = answers.filter(pl.col("endpoint") == "recommend")
        if shown.height:
            top = shown.select("run_id", "variant", item=pl.col("items").list.head(_COVERAGE_AT))
            top = top.explode("item", empty_as_null=True).drop_nulls("item").unique()
            self.items = pl.concat([self.items, top]).unique() if self.items.height else top
        self._lay("shown", shown.select(_SHOWN))
        self._lay("done", done.select(_DONE))

    def _lay(self, kind: str, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        number = next(self._numbers)
        for part, some in rows.with_columns(part=self.part_of()).partition_by("part", as_dict=True).items():
            some.drop("part").write_parquet(self.folder / f"{kind}-{part[0]}-{number:08}.parquet")


def _merged(groups: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    return groups.group_by(by).agg(pl.col("count").sum(), pl.col("first").min(), pl.col("last").max())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _may_hold(name: FileName, day: Day) -> bool:
    """Whether a file may hold answers of the day: it begins before its end, on a UTC day that it touches."""
    return name.start < day.end and name.day in day.utc_days[:-1]


def _gaps(
    everything: Sequence[FileName], own: Sequence[FileName], day: Day, expected: Sequence[str]
) -> tuple[str, ...]:
    """Say which replicas have no file: those that are expected, and those that have some of before and after."""
    there = {name.replica for name in own}
    one = dt.timedelta(days=1)
    before = {name.replica for name in everything if day.start - one <= name.start < day.start}
    after = {name.replica for name in everything if day.end <= name.start < day.end + one}
    around = sorted((before & after) - there)
    absent = sorted(set(expected) - there - set(around))
    return (
        *(f"replica {name} has files of the day before and the day after, none of this one" for name in around),
        *(f"replica {name} should have answered, and has no file" for name in absent),
    )
