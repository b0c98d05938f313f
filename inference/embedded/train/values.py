"""Values and names of every kind, drawn from a seeded generator."""

from random import Random


def listed(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


ONSETS = listed("b c d f g h j k l m n p r s t v w z br cl dr fl gr kr pl pr sl st tr sh ch th qu")
VOWELS = listed("a e i o u a e i o ai ea ou ee")
CODAS = ["", "", "", "n", "r", "l", "s", "t", "k", "m", "nd", "rt", "x", "ck"]

CITIES = listed(
    "Berlin Paris London Madrid Rome Vienna Oslo Lisbon Dublin Prague Warsaw Athens Tokyo Osaka Seoul Delhi "
    "Mumbai Cairo Lagos Nairobi Toronto Boston Chicago Denver Austin Seattle Lima Bogota Sydney Perth Leipzig "
    "Hamburg Lyon Porto Turin Geneva Zurich Krakow Tallinn Riga Bergen Malmo Ghent Utrecht Cork Leeds Bristol "
    "Cardiff"
)
PEOPLE = listed(
    "Anna Ben Carla David Emma Farid Grace Hugo Ines Jonas Kira Liam Maria Noah Olga Paul Rosa Sam Tina Umar "
    "Vera Will Yara Zoe Amir Chen Diego Elif Fatima Ivan Julia Kenji Lena Mateo Nadia Omar Priya Ravi Sofia "
    "Tom"
)
WORDS = listed(
    "red blue green black white small large new old fast slow main spare winter summer coffee tea paper steel "
    "wooden desk chair lamp phone laptop screen cable printer garden kitchen office server backup report "
    "meeting budget travel train flight hotel music guitar piano novel poem recipe bread cheese apple orange "
    "lemon pasta soup salad river forest mountain beach island bridge tower castle museum market station "
    "harbour field stone glass silver golden quiet happy broken annual weekly daily final first second draft "
    "login password payment delivery window door engine wheel battery camera sensor signal project release "
    "deploy update review contract policy claim ticket survey quarterly sales leads"
)
ZONES = listed(
    "Europe/Berlin Europe/Paris Europe/London Europe/Madrid America/New_York America/Chicago America/Denver "
    "America/Los_Angeles America/Sao_Paulo Asia/Tokyo Asia/Kolkata Asia/Shanghai Asia/Dubai Australia/Sydney "
    "Africa/Cairo Africa/Nairobi Pacific/Auckland UTC"
)
WEEKDAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
UNITS = {
    "length": listed(
        "km miles meters m feet ft inches cm mm yards kilometers kilometres mile foot mi metres centimeters"
    ),
    "mass": listed("kg pounds lb grams g ounces oz kilograms tons stone mg"),
    "temperature": listed("celsius fahrenheit kelvin C F K"),
    "volume": listed("liters litres gallons ml cups pints quarts l"),
    "time": listed("hours minutes seconds days weeks h min s"),
    "speed": listed("km/h mph m/s knots"),
    "area": listed("acres hectares m2 ft2 km2"),
    "data": listed("MB GB KB TB bytes"),
}


def syllables(rng: Random, count: int) -> str:
    """Return an invented lower-case word."""
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(count))


def name(rng: Random) -> str:
    """Return a first name, known or invented, sometimes with a surname."""
    first = rng.choice(PEOPLE) if rng.random() < 0.75 else syllables(rng, 2).capitalize()
    return first if rng.random() < 0.8 else f"{first} {syllables(rng, 2).capitalize()}"


def city(rng: Random) -> str:
    """Return a city, known or invented."""
    if rng.random() < 0.75:
        return rng.choice(CITIES)
    draw = syllables(rng, rng.choice((1, 2, 2))).capitalize()
    return draw if rng.random() < 0.85 else f"{rng.choice(('San', 'New', 'Port', 'Bad', 'Saint'))} {draw}"


def identifier(rng: Random) -> str:
    """Return an identifier such as A-1042, inv_77f2, 20931 or TX9."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    kind = rng.randrange(8)
    if kind <= 2:
        return "".join(rng.choices(letters, k=rng.choice((1, 1, 2, 3)))) + "-" + digits(rng, rng.randint(2, 5))
    if kind == 3:
        return digits(rng, rng.randint(3, 6))
    if kind == 4:
        return "".join(rng.choices(letters, k=rng.randint(1, 3))) + digits(rng, rng.randint(1, 4))
    if kind == 5:
        return f"{syllables(rng, 1)}_{''.join(rng.choices('0123456789abcdef', k=rng.randint(3, 6)))}"
    if kind == 6:
        return f"{syllables(rng, 1)}-{digits(rng, rng.randint(1, 4))}"
    return "".join(rng.choices("0123456789abcdef", k=rng.randint(5, 8)))


def digits(rng: Random, count: int) -> str:
    """Return a string of digits that does not begin with zero."""
    return str(rng.randint(1, 9)) + "".join(rng.choices("0123456789", k=count - 1))


def words(rng: Random, low: int = 1, high: int = 3) -> str:
    """Return a few words."""
    picked = [rng.choice(WORDS) if rng.random() < 0.92 else syllables(rng, 2) for _ in range(rng.randint(low, high))]
    return " ".join(picked)


def sentence(rng: Random) -> str:
    """Return a short sentence-like text."""
    subject = rng.choice(("the", "our", "my", "a", "this", "Your"))
    verb = rng.choice(("is", "was", "needs", "has", "will be", "looks", "arrives", "starts", "costs", "waits for"))
    text = f"{subject} {words(rng, 1, 1)} {verb} {words(rng, 1, 2)}"
    return text.capitalize() if rng.random() < 0.5 else text


def email(rng: Random) -> str:
    """Return an e-mail address."""
    user = rng.choice(
        (syllables(rng, 2), rng.choice(PEOPLE).lower(), f"{rng.choice(PEOPLE).lower()}.{syllables(rng, 2)}")
    )
    return f"{user}@{syllables(rng, rng.randint(1, 2))}.{rng.choice(('com', 'org', 'net', 'io', 'de', 'example'))}"


def url(rng: Random) -> str:
    """Return a web address."""
    path = "/".join(syllables(rng, 1) for _ in range(rng.choice((0, 0, 1))))
    host = (
        f"{rng.choice(('', 'www.', 'docs.', 'api.'))}{syllables(rng, 2)}.{rng.choice(('com', 'org', 'io', 'example'))}"
    )
    return f"http{rng.choice(('s', 's', ''))}://{host}" + (f"/{path}" if path else "")


def file(rng: Random) -> str:
    """Return a file name or path."""
    stem = words(rng, 1, 2).replace(" ", rng.choice(("_", "-", "")))
    base = f"{stem}.{rng.choice(('txt', 'csv', 'pdf', 'md', 'json', 'png', 'log', 'py'))}"
    return base if rng.random() < 0.6 else f"{rng.choice(('/', ''))}{syllables(rng, 1)}/{base}"


def date(rng: Random) -> str:
    """Return an ISO date."""
    return f"{rng.randint(1990, 2035)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def integer(rng: Random) -> int:
    """Return an integer of one to four digits."""
    return rng.choice(
        (rng.randint(1, 12), rng.randint(2, 99), rng.randint(2, 99), rng.randint(100, 999), rng.randint(1000, 9999))
    )


def number(rng: Random) -> float | int:
    """Return a number, whole or with one or two decimals, rarely negative."""
    value: float | int = integer(rng)
    if rng.random() < 0.45:
        value = round(value + rng.choice((rng.randint(1, 9) / 10, rng.randint(1, 99) / 100)), 2)
    return -value if rng.random() < 0.04 else value
