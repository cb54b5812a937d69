"""Tables of abbreviations and acronyms of English, and of the words that decide how they are read.

An abbreviation is listed as it is written, without its last dot. Which table it is in says where it is one:

- `TITLES` stand before a name, and their dot never ends a sentence;
- `STREETS` stand after a name ("Main St."), some of them are titles elsewhere ("St. Paul", "Dr. Smith");
- `NUMBERED` stand before a number ("No. 5");
- `LEADING_ABBREVIATIONS` stand before any word ("vs. them"), and their dot never ends a sentence;
- `CLOSING_ABBREVIATIONS` stand anywhere, and their dot may end a sentence as well ("etc.").
"""


def word_set(words: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(words.split())


TITLES = {
    "Mr": "mister",
    "Mrs": "missus",
    "Ms": "ms",
    "Messrs": "messieurs",
    "Mx": "mix",
    "Dr": "doctor",
    "Drs": "doctors",
    "Prof": "professor",
    "Profs": "professors",
    "Rev": "reverend",
    "Fr": "father",
    "Hon": "honorable",
    "Gen": "general",
    "Col": "colonel",
    "Maj": "major",
    "Capt": "captain",
    "Cpt": "captain",
    "Lt": "lieutenant",
    "Sgt": "sergeant",
    "Cpl": "corporal",
    "Pvt": "private",
    "Adm": "admiral",
    "Cmdr": "commander",
    "Gov": "governor",
    "Sen": "senator",
    "Sens": "senators",
    "Rep": "representative",
    "Reps": "representatives",
    "Pres": "president",
    "Supt": "superintendent",
    "Insp": "inspector",
    "Det": "detective",
    "St": "saint",
    "Ste": "saint",
    "Mt": "mount",
    "Ft": "fort",
    "Mme": "madame",
    "Mlle": "mademoiselle",
}
# Those that are no word without a dot, so that a capital after them is enough: "Dr Smith", but "Rep Smith" is not read.
TITLES_WITHOUT_DOT = word_set("Mr Mrs Ms Mx Dr Drs Prof Lt Sgt Capt Col St Ste Mt Ft Mme Mlle Cpl Pvt")

STREETS = {
    "St": "street",
    "Dr": "drive",
    "Ave": "avenue",
    "Av": "avenue",
    "Blvd": "boulevard",
    "Rd": "road",
    "Ln": "lane",
    "Ct": "court",
    "Pl": "place",
    "Sq": "square",
    "Hwy": "highway",
    "Pkwy": "parkway",
    "Ter": "terrace",
    "Cir": "circle",
}
STREET_NAMES = frozenset([*STREETS, *(name.title() for name in STREETS.values()), "Way", "Broadway"])

NUMBERED = {
    "No": "number",
    "no": "number",
    "Nos": "numbers",
    "nos": "numbers",
    "Nr": "number",
    "Vol": "volume",
    "vol": "volume",
    "Vols": "volumes",
    "vols": "volumes",
    "Ch": "chapter",
    "ch": "chapter",
    "Chap": "chapter",
    "chap": "chapter",
    "Fig": "figure",
    "fig": "figure",
    "Figs": "figures",
    "figs": "figures",
    "Eq": "equation",
    "eq": "equation",
    "Sec": "section",
    "sec": "section",
    "Sect": "section",
    "Art": "article",
    "art": "article",
    "p": "page",
    "pp": "pages",
    "Pt": "part",
    "pt": "part",
    "Op": "opus",
    "op": "opus",
    "Tab": "table",
    "tab": "table",
    "Iss": "issue",
    "iss": "issue",
    "App": "appendix",
    "Bldg": "building",
    "bldg": "building",
    "Fl": "floor",
    "Ep": "episode",
    "ep": "episode",
    "Ext": "extension",
    "ext": "extension",
    "Apt": "apartment",
    "apt": "apartment",
    "Rm": "room",
    "rm": "room",
    "Ste": "suite",
    "ste": "suite",
    "Rte": "route",
    "Hwy": "highway",
    "b": "born",
    "d": "died",
    "c": "circa",
    "ca": "circa",
    "approx": "approximately",
    "est": "established",
}

CLOSING_ABBREVIATIONS = {
    "etc": "et cetera",
    "Etc": "et cetera",
    "Jr": "junior",
    "Sr": "senior",
    "Esq": "esquire",
    "Ret": "retired",
    "Inc": "incorporated",
    "Corp": "corporation",
    "Ltd": "limited",
    "Co": "company",
    "Bros": "brothers",
    "Assn": "association",
    "Assoc": "associates",
    "Dept": "department",
    "dept": "department",
    "Depts": "departments",
    "Govt": "government",
    "govt": "government",
    "Mfg": "manufacturing",
    "appt": "appointment",
    "Appt": "appointment",
    "dept's": "department's",
    "misc": "miscellaneous",
    "Misc": "miscellaneous",
    "avg": "average",
    "Avg": "average",
    "al": "al",
    "Hwy": "highway",
    "Apt": "apartment",
    "hrs": "hours",
    "mins": "minutes",
    "secs": "seconds",
    "yrs": "years",
    "lbs": "pounds",
}
# Anywhere, before what they belong to.
LEADING_ABBREVIATIONS = {
    "approx": "approximately",
    "Approx": "approximately",
    "incl": "including",
    "excl": "excluding",
    "vs": "versus",
    "Vs": "versus",
    "tel": "telephone",
    "Tel": "telephone",
    "cf": "compare",
    "Cf": "compare",
    "viz": "namely",
    "Attn": "attention",
    "attn": "attention",
    "Natl": "national",
    "Intl": "international",
    "Univ": "university",
}
# Also without a dot.
UNDOTTED = {
    "etc": "et cetera",
    "vs": "versus",
    "Jr": "junior",
    "Sr": "senior",
    "Ltd": "limited",
    "Inc": "incorporated",
    "Blvd": "boulevard",
    "Hwy": "highway",
    "Pkwy": "parkway",
    "approx": "approximately",
    "dept": "department",
    "Dept": "department",
    "govt": "government",
    "Govt": "government",
    "Attn": "attention",
}
# Words only with their dot: without it, they are others.
INITIALISMS = {
    "e.g": "for example",
    "E.g": "for example",
    "eg": "for example",
    "i.e": "that is",
    "I.e": "that is",
    "ie": "that is",
    "v": "versus",
    "p.a": "per annum",
    "w.r.t": "with respect to",
    "a.k.a": "A K A",
}
# Written with letters of both cases.
MIXED = {
    "pH": "P H",
    "PhD": "P H D",
    "PhDs": "P H D's",
    "Ph.D": "P H D",
    "Ph.D.s": "P H D's",
    "D.Phil": "D phil",
    "Ed.D": "E D D",
    "MSc": "M S C",
    "BSc": "B S C",
    "iOS": "I O S",
    "macOS": "mac O S",
    "JPEG": "J peg",
    "jpeg": "J peg",
    "JPEGs": "J pegs",
    "MPEG": "M peg",
    "IPv": "I P V",
    "M.Sc": "M S C",
    "B.Sc": "B S C",
    "LL.B": "L L B",
    "IEEE": "I triple E",
    "km": "kilometers",
    "kg": "kilograms",
    "cm": "centimeters",
    "LaTeX": "la tech",
    "mRNA": "M R N A",
    "tRNA": "T R N A",
    "vCPU": "V C P U",
    "eSIM": "E sim",
    "GHz": "gigahertz",
    "MHz": "megahertz",
    "kHz": "kilohertz",
    "Hz": "hertz",
    "dB": "decibels",
    "kWh": "kilowatt hours",
    "mph": "miles per hour",
    "kph": "kilometers per hour",
    "mpg": "miles per gallon",
    "rpm": "R P M",
}

# Capitals that are read as a word. The rule in `tfvoice.text.english.acronyms` finds most others.
SPOKEN_ACRONYMS = word_set("""
    NASA NATO UNESCO UNICEF OPEC NAFTA ASEAN NASDAQ AIDS SARS COVID FIFA UEFA NORAD FEMA OSHA MENSA IKEA SWAT SCUBA
    LASER RADAR SONAR RAM ROM PIN SIM GIF BIOS RAID CAPTCHA ASCII LAN WAN MIDI JSON YAML TOML POTUS SCOTUS FLOTUS
    NIMBY YOLO FOMO ASAP WASP MASH SAT GMAT LSAT MCAT TOEFL DARPA CERN NOAA MERS EBITDA ERISA HIPAA DOS GUI OK NICE
    HAZMAT INTERPOL BASIC COBOL FORTRAN BAFTA TED NERF PETA OPIC SIMD VIN ZIP
    """)
# Capitals of which the rule would make a word.
SPELLED_ACRONYMS = word_set("""
    AAA ABC ACLU AFL AI AKA AOL API APR ATM BBC BMW CBS CD CEO CFO CIA CIO CNN COO CPU CTO CV DC DHL DIY DJ DNA DVD
    EMI EPA ER ESPN ESL EST EU EV FAA FAQ FBI FDA FDR FM FYI GDP GED GM GMO GMT GOP GPA GPS GPU HBO HIV HQ HR HTML
    HTTP HTTPS IBM ICU ID IMF IOU IP IPO IQ IRA IRS ISO ISP ISS ITV JFK KFC KGB LA LCD LED LGBT MBA MIT MLB MP MRI
    MTV MVP NAACP NBA NBC NCAA NFL NGO NHL NHS NRA NSA NYC NYPD OCD PBS PC PDF PE PGA PM PR PTA PTSD QA RAF RNA RSVP
    RV SEC SMS SOS SPF SUV TGIF TLC TV UAE UCLA UFO UI UK UN UPS URL US USA USB USC USSR UV UX VAT VIP VP WWW XML
    YMCA AC GPL SQL CSS PHP LLC LTE VPN DMV ETA HDMI LAPD NYSE OPCW POW POV REM RPG SOB WMD CCTV CAD COD DOA DOB DUI
    EKG HOV ROTC UNHCR IDE SDK LLM GAN RNN CTC TTS ASR USDA USPS OECD IAEA EEOC AARP USGS USMC USAF UCSD ICBM ASPCA
    OEM EMT ENT EEG UGC ADHD IEP IDF IVF IUD PST CET CEST AEST AEDT AKST BST IST IMHO IMO BTW COPD
    """)
# Of those, what is an ordinary word where all words are capitals.
ALSO_WORDS = word_set("COD ETA IDE LA LED REM US UPS SEC SOB CAD PE AC")
# Stressed words far more often than acronyms, which they are only beside these: words before them, words after them.
STRESSED = {
    "IT": (
        word_set("the an in our"),
        word_set("""
            department departments system systems support service services sector industry staff manager managers team
            infrastructure professional professionals company companies consultant consultants security budget jobs
            skills spending project projects specialist specialists equipment director help desk
            """),
    ),
    "WHO": (frozenset(["the"]), word_set("says said director guidelines report")),
    "RIP": (frozenset([""]), frozenset()),
}
# Stressed words of up to three letters; longer ones, and consonant-vowel-consonant, are words by rule.
SHORT_WORDS = word_set("""
    A AM AN AS AT AH AW AY BE BY DO EH GO HA HE HI HO IF IN IS IT LO MA ME MY NO OF OH ON OP OR OW PA SO RE TO UM UP
    WE YE YO ACE ACT ADD ADO AGE AGO AID AIM AIR ALE ALL AND ANT ANY APE ARC ARE ARM ART ASH ASK ATE AWE AXE AYE BAA
    BEE BOO BRA BOY BUY BYE CRY CUE DAY DIE DOE DRY DUE DYE EAR EAT EGG EGO ELF ELK ELM END ERA EVE EYE FEE FEW FLU
    FLY FOE FOR FRY GUY GYM HAY HEY HOE HOW HUE HUH ICE ICY ILL INK INN ION IRE IVY JAW JAY JOY KEY LAW LAY LEE LIE
    LOW LYE MAY MOO NAY NEW NOW OAF OAK OAR OAT ODD ODE OFF OIL OLD ONE OPT ORE OUR OUT OWE OWL OWN PAW PAY PEA PIE
    PRO PRY RAW RAY ROE ROW RUE RYE SAW SAY SEA SEE SHE SHY SKI SKY SLY SOY SPA SPY SUE TAO TEA TEE THE THY TIE TOE
    TOO TOW TOY TRY TWO USE VIE VOW WAY WEE WHY WOE WOO WOW YEA YES YOU ZOO AHA ALA AWW OOH EWW UGH UHH URN WRY ITS
    OHO GOO VUE JOE OOP OWT MOE LOU LEO ROY EVA ANN AMY IAN
    """)

MONTHS = {
    "Jan": "january",
    "Feb": "february",
    "Mar": "march",
    "Apr": "april",
    "May": "may",
    "Jun": "june",
    "Jul": "july",
    "Aug": "august",
    "Sep": "september",
    "Sept": "september",
    "Oct": "october",
    "Nov": "november",
    "Dec": "december",
}
MONTH_NAMES = tuple(dict.fromkeys(MONTHS.values()))
WEEKDAYS = {
    "Mon": "monday",
    "Tue": "tuesday",
    "Tues": "tuesday",
    "Wed": "wednesday",
    "Weds": "wednesday",
    "Thu": "thursday",
    "Thur": "thursday",
    "Thurs": "thursday",
    "Fri": "friday",
    "Sat": "saturday",
    "Sun": "sunday",
}
STATES = {
    "AL": "alabama",
    "AK": "alaska",
    "AZ": "arizona",
    "AR": "arkansas",
    "CA": "california",
    "CO": "colorado",
    "CT": "connecticut",
    "DE": "delaware",
    "FL": "florida",
    "GA": "georgia",
    "HI": "hawaii",
    "ID": "idaho",
    "IL": "illinois",
    "IN": "indiana",
    "IA": "iowa",
    "KS": "kansas",
    "KY": "kentucky",
    "LA": "louisiana",
    "ME": "maine",
    "MD": "maryland",
    "MA": "massachusetts",
    "MI": "michigan",
    "MN": "minnesota",
    "MS": "mississippi",
    "MO": "missouri",
    "MT": "montana",
    "NE": "nebraska",
    "NV": "nevada",
    "NH": "new hampshire",
    "NJ": "new jersey",
    "NM": "new mexico",
    "NY": "new york",
    "NC": "north carolina",
    "ND": "north dakota",
    "OH": "ohio",
    "OK": "oklahoma",
    "OR": "oregon",
    "PA": "pennsylvania",
    "RI": "rhode island",
    "SC": "south carolina",
    "SD": "south dakota",
    "TN": "tennessee",
    "TX": "texas",
    "UT": "utah",
    "VT": "vermont",
    "VA": "virginia",
    "WA": "washington",
    "WV": "west virginia",
    "WI": "wisconsin",
    "WY": "wyoming",
}
# With a dot, as newspapers write them after a city.
DOTTED_STATES = {
    **{"Ala": "alabama", "Ariz": "arizona", "Ark": "arkansas", "Calif": "california", "Colo": "colorado"},
    **{"Conn": "connecticut", "Del": "delaware", "Fla": "florida", "Ga": "georgia", "Ill": "illinois"},
    **{"Ind": "indiana", "Kan": "kansas", "Ky": "kentucky", "La": "louisiana", "Mass": "massachusetts"},
    **{"Md": "maryland", "Mich": "michigan", "Minn": "minnesota", "Miss": "mississippi", "Mo": "missouri"},
    **{"Mont": "montana", "Neb": "nebraska", "Nev": "nevada", "Okla": "oklahoma", "Ore": "oregon"},
    **{"Pa": "pennsylvania", "Tenn": "tennessee", "Tex": "texas", "Va": "virginia", "Vt": "vermont"},
    **{"Wash": "washington", "Wis": "wisconsin", "Wyo": "wyoming"},
}
# Words that begin a sentence more often than they go on after an abbreviation.
STARTERS = word_set("""
    The A An He She It They We I You This That These Those There Here But And So Then When While If As In On At For From
    After Before His Her Its Their Our My Your What Who Why How Where No Not Yes One Some Many Most All Each Every
    However Also Now Once Since Because Although Let To By With Of Or
    """)
