"""Results that other tools wrote, read into values. Readers are pure: a stream of bytes in, values out.

The bytes are untrusted: nothing is loaded or expanded, memory is bounded, and what is intact before the place where a
file breaks off or turns wrong is still handed out. Then FormatError names the file, the line and what is wrong.
"""

from .benchmarks import benchmarks
from .cobertura import cobertura
from .junit import junit
from .kinds import SUFFIXES, Kind, kind_of
from .model import Benchmark, Case, FileCoverage, Sarif
from .sarif import sarif

__all__ = [
    "SUFFIXES",
    "Benchmark",
    "Case",
    "FileCoverage",
    "Kind",
    "Sarif",
    "benchmarks",
    "cobertura",
    "junit",
    "kind_of",
    "sarif",
]
