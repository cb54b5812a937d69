"""What is read by its characters: telephone numbers, versions, addresses of computers, of pages and of people, names.

Digits of a telephone number are read one by one with a pause between its groups. In addresses and file names, dots and
other marks are read; a name with capitals inside is split at them.
"""

import re

from tfvoice.text.english import abbreviations, acronyms
from tfvoice.text.english.context import previous_word, starts_chunk
from tfvoice.text.english.numbers import cardinal, digits, pairs

_END = r"(?!\d|[-.]\d)"
_AMERICAN_PHONE = re.compile(
    rf"(?:(\+\d{{1,3}}[ .-]?|1[ .-]))?(?:\((\d{{3}})\)[ .-]?|(\d{{3}})[ .-])(\d{{3}})[ .-](\d{{4}})"
    rf"(?:\sx(\d{{1,6}})(?!\w)|{_END})"
)
_LOCAL_PHONE = re.compile(rf"(\d{{3}})-(\d{{4}}){_END}")
_PHONE_WORD = re.compile(r"1-(\d{3})-([A-Z]{3,})(?![\w])")
_FOREIGN_PHONE = re.compile(r"\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\d)")
# With its area code, as it is dialled within many countries.
_NATIONAL_PHONE = re.compile(r"\(?0\d{2,4}\)?[ -](?:\d{3,4}[ -]\d{3,4}|\d{6,8})(?![\d,.:/]\d|\w)")
_HEX = re.compile(r"0[xX][0-9A-Fa-f]{1,32}(?!\w)")
_CARD = re.compile(r"\d{4}(?:([ -])\d{4})(?:\1\d{4}){1,3}(?!\d)")
_GROUPS = re.compile(r"\d+(?:-\d+){2,}(?!\w)")
_DOTS = re.compile(r"\d+(?:\.\d+){2,}(?![A-Za-z])")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,}")
_VERSION = re.compile(r"[vV]\.?(\d+(?:\.\d+)*)(?:[-.]?(alpha|beta|rc|dev|post|preview)[-.]?(\d{0,4}))?(?![\w])")
_EXPONENT = re.compile(r"(\d+(?:\.\d+)?)[eE]([+-]?)(\d{1,3})(?!\w)")
_ACCOUNT = re.compile(r"401\(?k\)?(?!\w)")
_BRACKETED = re.compile(r"(\d{3})\(([a-z])\)(?:\((\d{1,2})\))?(?!\w)")

_TLDS = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ai|co|app|dev|uk|us|ca|de|fr|jp|au|ch|nl|se|eu|ru|cn|br|es|tv|ly|gg|xyz"
)
_FILES = (
    "py|txt|pdf|docx?|xlsx?|pptx?|csv|tsv|json|xml|html?|css|js|ts|md|rst|toml|ya?ml|ini|cfg|conf|log|sh|bat|exe|dll|"
    "zip|gz|tar|tgz|bz2|xz|rar|7z|jpe?g|png|gif|bmp|svg|webp|mp3|mp4|wav|flac|ogg|avi|mov|mkv|c|h|cpp|hpp|java|rb|go|rs|"
    "php|sql|db|bin|iso|apk|dmg|ipynb|npz|npy|onnx|tflite"
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})"
_DOMAIN = rf"(?:{_LABEL}\.){{1,6}}(?:{_TLDS})"
_PATH = r"(?::\d{1,5})?(?:[/?#](?:[\w./?=&%#~+:@!$-]{0,300}[\w/=&%#~$-])?)?"
# ASCII: what an address is read by has no words for other letters, which are to be reported.
_EMAIL = re.compile(rf"(?:mailto:)?([\w.+-]{{1,64}}@(?:{_LABEL}\.){{1,6}}[A-Za-z]{{2,24}})(?!\w)", re.ASCII)
_URL = re.compile(
    rf"(?:(?:https?|ftps?|sftp|ssh|git)://([\w.-]{{0,249}}\w{_PATH})|file://([/\w][\w./-]{{0,300}}\w))", re.ASCII
)
_SITE = re.compile(
    rf"((?:[wW]{{3}}\.(?:{_LABEL}\.){{0,5}}[A-Za-z]{{2,24}}|{_DOMAIN})(?![A-Za-z0-9@-]){_PATH})", re.ASCII
)
_FILE = re.compile(
    rf"((?:[~.]{{0,2}}/)?(?:[\w-]{{1,64}}/){{0,8}}[\w-]{{1,100}}(?:\.[\w-]{{1,32}}){{0,3}}"
    rf"\.(?:{_FILES}|{_FILES.upper()}))(?![\w/])",
    re.ASCII,
)
_ABSOLUTE_PATH = re.compile(
    r"((?:(?:[~.]{0,2}/|[A-Z]:\\)[\w-]{1,64}(?:[/\\.][\w-]{1,64}){1,12}|(?:~|\.\.?)/\.?[\w-]{1,64})/?)(?!\w)", re.ASCII
)
_IDENTIFIER = re.compile(r"([A-Za-z0-9]{1,64}(?:_[A-Za-z0-9]{1,64}){1,12}(?:\(\))?)(?!\w)")
_HASHTAG = re.compile(r"#(?!\d+(?:st|nd|rd|th)\b)(\d{0,6}[A-Za-z]\w{0,100})", re.ASCII)
_MENTION = re.compile(r"@([A-Za-z]\w{0,60}(?:\.[A-Za-z]\w{0,60}){0,3})", re.ASCII)
_DOTTED_NAME = re.compile(r"([a-z]{1,40}(?:\.[a-z]{1,40}){1,8}(?:\(\))?)(?![\w.])")
_CHUNK = re.compile(r"[A-Za-z0-9]+(?:'s(?![A-Za-z]))?")

_MARKS = {
    ".": "dot",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "@": "at",
    ":": "colon",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "%": "percent",
    "#": "hash",
    "~": "tilde",
    "+": "plus",
    "\\": "backslash",
    "!": "exclamation mark",
    "$": "dollar",
    "(": "",
    ")": "",
}
_PARTS = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LOCAL_NUMBERS = abbreviations.word_set("page pages between from in of to")


def read_code(text: str, start: int) -> tuple[str, int] | None:
    """Reads a telephone number, a version, an IP address or another number whose digits are no amount.

    Args:
      text: folded.
      start: where it begins, at a digit, a "+", a "(" or a "v".

    Returns:
      what is said, and where it ends in the text; None if there is none.
    """
    return _read(_CODES, text, start)


def read_address(text: str, start: int) -> tuple[str, int] | None:
    """Reads an e-mail or web address, a path, a file name, a hashtag or an @name; as `read_code`."""
    if not starts_chunk(text, start):
        return None
    return _read(_ADDRESSES, text, start)


def read_chunk(text: str, start: int) -> tuple[str, int] | None:
    """Reads letters and digits in one word, "B2B" or "4K's"; as `read_code`."""
    match = _CHUNK.match(text, start)
    if not match:
        return None
    stem, apostrophe, ending = match[0].partition("'")
    spoken = acronyms.speak_mixed(stem)
    return f"{spoken}{apostrophe}{ending}", match.end()


def speak_address(written: str) -> str:
    """The words of an address or a file name: "my_file.txt" is "my underscore file dot T X T"."""
    words = []
    ending = written.rpartition(".")[2]
    for part in _PARTS.findall(written.rstrip("/")):
        if part.isdecimal():
            words.append(pairs(part) if len(part) < 5 else digits(part))
        elif part in _MARKS:
            words.append(_MARKS[part])
        elif part.isalpha():
            words.extend(_speak_name(name, name == ending) for name in _CAMEL.findall(part))
    return " ".join(word for word in words if word)


def _read(rules, text: str, start: int) -> tuple[str, int] | None:
    for pattern, speak in rules:
        match = pattern.match(text, start)
        spoken = match and speak(match)
        if spoken:
            return spoken, match.end()
    return None


def _speak_name(name: str, is_ending: bool) -> str:
    """A part of an address; two letters are spelled ("uk"), unless they are a word and not the ending."""
    if len(name) == 1:
        return name.upper()
    if not is_ending and name.upper() in abbreviations.SHORT_WORDS:
        return name.lower()
    if name.lower() in _SPOKEN_ENDINGS:
        return _SPOKEN_ENDINGS[name.lower()]
    if name.islower() and len(name) == 2:
        name = name.upper()
    spelled = acronyms.is_spelled(name.upper()) and not _is_word(name)
    return acronyms.letters(name) if spelled else acronyms.speak_word(name.lower())


_SPOKEN_ENDINGS = {
    "etc": "E T C",
    "edu": "E D U",
    "txt": "T X T",
    "docx": "doc X",
    "jpeg": "J peg",
    "py": "P Y",
    "io": "I O",
    "www": "W W W",
}
_SPOKEN_ENDINGS |= {
    "js": "J S",
    "md": "M D",
    "ts": "T S",
    "app": "app",
    "org": "org",
    "exe": "E X E",
    "in": "in",
    "co": "co",
}


def _is_word(name: str) -> bool:
    """Whether small letters look like a word: the rule for three capitals is too strict for them."""
    return (
        not name.isupper()
        and name.upper() not in abbreviations.SPELLED_ACRONYMS
        and len(name) > 2
        and bool(re.search("[aeiouy]", name.lower()))
    )


def _speak_groups(*groups: str) -> str:
    return " , ".join(_speak_group(group) for group in groups if group)


def _speak_group(group: str) -> str:
    return pairs(group) if group in ("800", "900") else digits(group)


def _american_phone(match: re.Match) -> str:
    country, bracketed, area, exchange, line, extension = match.groups()
    plus = "plus " if country and country[0] == "+" else ""
    number = plus + _speak_groups(re.sub(r"\D", "", country or ""), bracketed or area, exchange, line)
    return f"{number} , extension {digits(extension)}" if extension else number


def _local_phone(match: re.Match) -> str:
    before = previous_word(match.string, match.start()).lower()
    if match[2].endswith("00") or before in _LOCAL_NUMBERS:
        return ""
    return _speak_groups(match[1], match[2])


def _phone_word(match: re.Match) -> str:
    return f"{_speak_groups('1', match[1])} , {match[2].lower()}"


def _plain_groups(match: re.Match) -> str:
    return _speak_groups(*re.findall(r"\d+", match[0]))


def _foreign_phone(match: re.Match) -> str:
    return f"plus {_plain_groups(match)}"


def _dots(match: re.Match) -> str:
    parts = match[0].split(".")
    if _THOUSANDS.fullmatch(match[0]):
        return cardinal("".join(parts))
    if len(parts) == 4 and all(len(part) < 4 and int(part) < 256 for part in parts):
        return " dot ".join(map(pairs, parts))
    return _speak_version(match[0])


def _speak_version(written: str) -> str:
    parts = written.split(".")
    return " point ".join(digits(part) if part[0] == "0" else cardinal(part) for part in parts)


def _version(match: re.Match) -> str:
    number, stage, count = match.groups()
    if match[0][0] == "V" and number.isdecimal() and not stage:
        return ""  # "V8"
    words = [f"version {_speak_version(number)}"]
    if stage:
        words += [acronyms.speak_mixed(stage), cardinal(count) if count else ""]
    return " ".join(filter(None, words))


def _exponent(match: re.Match) -> str:
    base = match[1].replace(".", " point ").split()
    mantissa = f"{cardinal(base[0])} point {digits(base[2])}" if len(base) > 1 else cardinal(base[0])
    sign = {"-": "minus ", "+": "plus ", "": ""}[match[2]]
    return f"{mantissa} E {sign}{cardinal(match[3])}"


def _bracketed(match: re.Match) -> str:
    return f"{pairs(match[1])} {match[2].upper()} {cardinal(match[3]) if match[3] else ''}".strip()


def _address(match: re.Match) -> str:
    return speak_address(match[1])


def _dotted_name(match: re.Match) -> str:
    return "" if len(match[1]) < 4 else speak_address(match[1])


def _url(match: re.Match) -> str:
    return speak_address(next(filter(None, match.groups())).rstrip(".,:;!?/"))


def _hashtag(match: re.Match) -> str:
    return f"hashtag {_speak_camel(match[1])}"


def _mention(match: re.Match) -> str:
    return f"at {speak_address(match[1])}"


def _speak_camel(name: str) -> str:
    return " ".join(filter(None, map(acronyms.speak_mixed, re.findall("[A-Za-z0-9]+", name))))


_CODES = (
    (_VERSION, _version),
    (_AMERICAN_PHONE, _american_phone),
    (_PHONE_WORD, _phone_word),
    (_FOREIGN_PHONE, _foreign_phone),
    (_NATIONAL_PHONE, _plain_groups),
    (_HEX, lambda match: " ".join(digits(one) if one.isdecimal() else one.upper() for one in match[0])),
    (_CARD, _plain_groups),
    (_GROUPS, _plain_groups),
    (_LOCAL_PHONE, _local_phone),
    (_DOTS, _dots),
    (_EXPONENT, _exponent),
    (_ACCOUNT, lambda match: "four oh one K"),
    (_BRACKETED, _bracketed),
)
_ADDRESSES = (
    (_EMAIL, _address),
    (_URL, _url),
    (_SITE, _url),
    (_FILE, _address),
    (_ABSOLUTE_PATH, _address),
    (_IDENTIFIER, _address),
    (_HASHTAG, _hashtag),
    (_MENTION, _mention),
    (_DOTTED_NAME, _dotted_name),
)
