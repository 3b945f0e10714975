"""A data description's YAML -> `Description`; every mistake is one line that names file and key."""

import difflib
import os
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..label_spaces import CAMVID, CITYSCAPES, CITYSCAPES_IDS, Color, LabelSpace
from .schema import ROLES, ClassEntry, Description, FileSet, Labels, Part
from .values import Values
from .yaml_file import kind_of, parse_yaml, read_text

MOST_CLASSES = 254
_CONFIG_SECTIONS = {"_BASE_", "VERSION", "DATASETS", "INPUT", "MODEL", "SOLVER", "TEST"}
_TOP = ("root", "classes", "ignore", "templates", *ROLES)
_CLASS = ("name", "words", "color", "thing", "ids")
_MASKS = ("masks", "mask_suffix", "format", "ids")
_PART = ("images", "image_suffix", "every", "domain", "weight", "missing", "share", "categories")
_FORMS = ("masks", "coco", "panoptic", "labelme")
# label spaces of this project: their classes, and the ids of their own files
_SPACES: dict[str, tuple[LabelSpace, tuple[int, ...]]] = {
    "cityscapes": (CITYSCAPES, CITYSCAPES_IDS),
    "camvid": (CAMVID, tuple(range(len(CAMVID.classes)))),
}


def read_description(path: str | Path) -> Description:
    """Reads a data description; looks at no other file.

    Args:
        path: a YAML file as the README's section "Your own data" describes.
    Raises:
        InputError: for whatever does not fit, naming file, key and remedy.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))
    return description_of(path, read_text(path))


def description_of(path: Path, content: str) -> Description:
    """The same for a text that is known.

    Args:
        path: where the text stands, or stood: relative paths begin there.
        content: the text.
    Raises:
        InputError: for whatever does not fit, naming file, key and remedy.
    """
    table = parse_yaml(content, path)
    if _CONFIG_SECTIONS & set(table):
        raise InputError(f"{path} is a config, not a data description: give it with --config-file")
    return _Reader(path).description(table, content)


class _Reader(Values):
    """Turns the tables of one file into a description."""

    def description(self, table: dict[str, Any], content: str) -> Description:
        """The whole of it."""
        self.known_keys(table, _TOP, "")
        if table.get("root") is not None:
            self.folder = self.place(self.text(table["root"], "root"))
        space, classes = self._classes(table)
        ids, colors = self._ignored(table.get("ignore", []), "ignore")
        parts = {role: self._role(table[role], role, classes) for role in ROLES if role in table}
        for role in ("source", "target"):
            if role not in parts:
                raise self.wrong(role, "is missing", f"name the {role} images")
        share = self._share(table.get("target_labeled"))
        templates = table.get("templates")
        return Description(
            self.path,
            content,
            space,
            classes,
            ids,
            colors,
            parts,
            share,
            None if templates is None else self.place(self.text(templates, "templates")),
        )

    # classes

    def _classes(self, table: dict[str, Any]) -> tuple[str, tuple[ClassEntry, ...]]:
        given = table.get("classes")
        if given is None:
            raise self.wrong("classes", "are missing", "list their names")
        if isinstance(given, str):
            if given not in _SPACES:
                known = " or ".join(_SPACES)
                raise self.wrong("classes", f"are {given!r}", f"write {known}, or a list of names")
            space, ids = _SPACES[given]
            rows = zip(space.classes, space.palette, ids, strict=True)
            return given, tuple(
                ClassEntry(name, (name,), color, train_id in space.things, (stored,))
                for train_id, (name, color, stored) in enumerate(rows)
            )
        entries = self.listed(given, "classes")
        if not 1 <= len(entries) <= MOST_CLASSES:
            raise self.wrong("classes", f"are {len(entries)}", f"give 1 to {MOST_CLASSES}")
        classes = tuple(self._class_entry(entry, k) for k, entry in enumerate(entries))
        self._unique([(entry.name.casefold(), entry.name) for entry in classes], "class name")
        self._unique([(i, entry.name) for entry in classes for i in entry.ids], "id")
        self._unique([(e.color, e.name) for e in classes if e.color is not None], "color")
        return "", classes

    def _class_entry(self, given: Any, train_id: int) -> ClassEntry:
        key = f"classes[{train_id}]"
        if not isinstance(given, dict):
            given = {"name": given}
        self.known_keys(given, _CLASS, key)
        if "name" not in given:
            raise self.wrong(key, "has no name", "add name:")
        name = self.text(given["name"], f"{key}.name")
        words = self.texts(given.get("words", [name]), f"{key}.words")
        color = given.get("color")
        return ClassEntry(
            name,
            words or (name,),
            None if color is None else self.color(color, f"{key}.color"),
            self.truth(given.get("thing", False), f"{key}.thing"),
            self.ids(given.get("ids", [train_id]), f"{key}.ids"),
        )

    def _unique(self, pairs: list[tuple[Any, str]], what: str) -> None:
        seen: dict[Any, str] = {}
        for value, name in pairs:
            if value in seen:
                both = f"{seen[value]!r} and {name!r}"
                if what == "class name":
                    raise self.wrong("classes", f"name {name!r} twice", "give each another name")
                raise self.wrong("classes", f"{both} have the same {what} {value}", "change one")
            seen[value] = name

    def _ignored(self, given: Any, key: str) -> tuple[tuple[int, ...], tuple[Color, ...]]:
        ids, colors = [], []
        for entry in self.listed(given, key):
            if isinstance(entry, list):
                colors.append(self.color(entry, key))
            else:
                ids += self.ids([entry], key)
        return tuple(ids), tuple(colors)

    # data sets

    def _role(self, given: Any, role: str, classes: tuple[ClassEntry, ...]) -> tuple[Part, ...]:
        several = isinstance(given, list)
        entries = given if several else [given]
        if not entries:
            raise self.wrong(role, "is an empty list", "name images")
        keys = [f"{role}[{n}]" if several else role for n in range(len(entries))]
        return tuple(
            self._part(entry, key, role, classes) for entry, key in zip(entries, keys, strict=True)
        )

    def _part(self, given: Any, key: str, role: str, classes: tuple[ClassEntry, ...]) -> Part:
        table = self.table(given, key)
        self.known_keys(table, (*_PART, *_MASKS, *_FORMS), key)
        if "images" not in table:
            raise self.wrong(key, "has no images", "add images: and a folder, a glob or a video")
        if "share" in table and role != "target_labeled":
            raise self.wrong(f"{key}.share", "belongs to target_labeled", "remove it")
        labels = self._labels(table, key, classes)
        if role == "target" and labels is not None:
            raise self.wrong(
                key,
                f"has {labels.form}, but target images are used without labels",
                "remove the key, or call the data set target_labeled",
            )
        if role != "target" and labels is None:
            raise self.wrong(key, "has no labels", f"add one of {', '.join(_FORMS)}")
        missing = table.get("missing", "error")
        if missing not in ("error", "skip"):
            raise self.wrong(f"{key}.missing", f"is {kind_of(missing)}", "write skip or error")
        weight = table.get("weight")
        return Part(
            key,
            self._files(table, key, "images", "image_suffix"),
            every=self.whole(table.get("every", 1), f"{key}.every", 1),
            labels=labels,
            domain=self.text(table["domain"], f"{key}.domain") if "domain" in table else "",
            weight=None if weight is None else self.positive(weight, f"{key}.weight"),
            skip_missing=missing == "skip",
        )

    def _labels(
        self, table: dict[str, Any], key: str, classes: tuple[ClassEntry, ...]
    ) -> Labels | None:
        forms = [form for form in _FORMS if form in table]
        if len(forms) > 1:
            raise self.wrong(key, f"has {' and '.join(forms)}", "labels have one form: keep one")
        form = forms[0] if forms else ""
        self._fitting(table, key, form)
        if not form:
            return None
        names = {entry.name for entry in classes}
        if form == "masks":
            ids = self._mapping(table.get("ids", {}), f"{key}.ids", names, whole_keys=True)
            values = table.get("format", "")
            if values not in ("", "ids", "colors"):
                raise self.wrong(f"{key}.format", f"is {kind_of(values)}", "write ids or colors")
            files = self._files(table, key, "masks", "mask_suffix")
            return Labels(form, files, values=values, ids=ids)
        categories = self._mapping(table.get("categories", {}), f"{key}.categories", names)
        if form == "coco":
            file = self.place(self.text(table["coco"], f"{key}.coco"))
            return Labels(form, json_file=file, categories=categories)
        if form == "labelme":
            return Labels(form, self._files(table, key, "labelme", ""), categories=categories)
        inner = self.table(table["panoptic"], f"{key}.panoptic")
        self.known_keys(inner, ("json", "masks"), f"{key}.panoptic")
        for part in ("json", "masks"):
            if part not in inner:
                raise self.wrong(f"{key}.panoptic", f"has no {part}", "give json: and masks:")
        files = self._files(inner, f"{key}.panoptic", "masks", "")
        file = self.place(self.text(inner["json"], f"{key}.panoptic.json"))
        return Labels(form, files, file, categories=categories)

    def _fitting(self, table: dict[str, Any], key: str, form: str) -> None:
        """Keys of another form change nothing: whoever writes one expects an effect."""
        for name in ("mask_suffix", "format", "ids"):
            if name in table and form != "masks":
                raise self.wrong(f"{key}.{name}", "belongs to masks", "remove it")
        if "categories" in table and form not in ("coco", "panoptic", "labelme"):
            raise self.wrong(
                f"{key}.categories", "belongs to coco, panoptic or labelme", "remove it"
            )

    def _mapping(
        self, given: Any, key: str, names: set[str], whole_keys: bool = False
    ) -> dict[Any, str]:
        table = self.table(given, key)
        for stored, name in table.items():
            if whole_keys:
                self.whole(stored, f"a value in {key}", 0, 65535)
            elif not isinstance(stored, str):
                raise self.wrong(key, f"names {kind_of(stored)}", "quote it")
            if name not in names:
                near = difflib.get_close_matches(str(name), sorted(names), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise self.wrong(
                    key, f"maps {stored!r} to {kind_of(name)}, which is no class{hint}", "mend it"
                )
        return dict(table)

    def _share(self, given: Any) -> float | None:
        tables = given if isinstance(given, list) else [given]
        shares = [t["share"] for t in tables if isinstance(t, dict) and "share" in t]
        if len(shares) > 1:
            raise self.wrong("target_labeled", "has several shares", "keep one")
        if not shares:
            return None
        share = self.positive(shares[0], "target_labeled.share")
        if share > 1:
            raise self.wrong("target_labeled.share", f"is {share}", "it lies between 0 and 1")
        return share

    def _files(self, table: dict[str, Any], key: str, name: str, suffix_key: str) -> FileSet:
        given = table[name]
        where = f"{key}.{name}"
        entries = given if isinstance(given, list) else [given]
        if not entries:
            raise self.wrong(where, "is an empty list", "name a folder")
        places = tuple(self.place(self.text(entry, where)) for entry in entries)
        suffix = table.get(suffix_key, "") if suffix_key else ""
        return FileSet(places, suffix and self.text(suffix, f"{key}.{suffix_key}"))
