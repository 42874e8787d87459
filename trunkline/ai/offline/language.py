"""The recogniser's files for one shop: a trigram model per grammar and one small dictionary, kept on disk.

Making them takes a few seconds, so they are kept in a cache directory under the hash of everything they are made of.
Written to a temporary directory and renamed: readers never see half a set, two writers do no harm.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from trunkline.ai.business import Business
from trunkline.ai.offline.expand import Expander
from trunkline.ai.offline.grammar import GRAMMARS, Domain, domain
from trunkline.ai.offline.lexicon import lexicon
from trunkline.ai.offline.ngram import arpa
from trunkline.errors import ConfigError

_SOURCES: Final = ("templates.py", "expand.py", "grammar.py", "ngram.py", "lexicon.py", "first_names.txt")


@dataclass(frozen=True, slots=True)
class LanguageFiles:
    """Where the files of one shop lie."""

    folder: Path

    @property
    def dictionary(self) -> Path:
        """Pronunciations of every word of every grammar."""
        return self.folder / "words.dict"

    def model(self, grammar: str) -> Path:
        """ARPA trigram of a grammar."""
        return self.folder / f"{grammar}.lm"


def default_cache() -> Path:
    """$XDG_CACHE_HOME/trunkline, else ~/.cache/trunkline."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trunkline"


def language_files(business: Business, cache_dir: Path | None = None) -> LanguageFiles:
    """The shop's files, made now when they are not there (some seconds: call it outside the event loop).

    Raises ConfigError when the cache directory cannot be written.
    """
    shop = domain(business)
    root = cache_dir or default_cache()
    files = LanguageFiles(root / f"language-{_digest(shop)}")
    if files.folder.is_dir():
        return files
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="language-", suffix=".part", dir=root))
    except OSError as error:
        raise ConfigError(f"the recogniser's cache {root} cannot be written: {error.strerror}") from error
    try:
        _build(shop, LanguageFiles(scratch))
        scratch.chmod(0o755)
        _publish(scratch, files.folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return files


def _publish(scratch: Path, target: Path) -> None:
    try:
        scratch.rename(target)
    except OSError:  # another process was first; its files are the same
        if not target.is_dir():
            raise


def _build(shop: Domain, files: LanguageFiles) -> None:
    expander = Expander(shop)
    vocabulary: set[str] = set()
    for grammar in GRAMMARS:
        sentences = list(expander.grammar(grammar))
        vocabulary.update(word for sentence, _ in sentences for word in sentence.split())
        files.model(grammar).write_text(arpa(sentences), "utf-8")
    files.dictionary.write_text(lexicon(vocabulary), "utf-8")


def _digest(shop: Domain) -> str:
    made_of = json.dumps(asdict(shop), sort_keys=True) + _sources()
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


@cache
def _sources() -> str:
    folder = resources.files("trunkline.ai.offline")
    return "".join(folder.joinpath(name).read_text("utf-8") for name in _SOURCES)
