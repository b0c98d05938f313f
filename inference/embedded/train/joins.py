"""How two requests are joined into one task, how a later one refers to an earlier result, and small talk."""

JOINS = (
    "{a} and {b}",
    "{a}, and {b}",
    "{a}. also, {b}",
    "{a}; {b}",
    "{a} and also {b}",
    "{a}. {b}",
    "1. {a} 2. {b}",
    "both: {a}, {b}",
    "{a}, and then also {b}",
    "{a} plus: {b}",
    "two things: {a}; {b}",
    "{a}? and {b}",
)
JOINS_HELD = ("{a}, while you are at it {b}", "{a} as well as {b}", "I have two wishes: {a} / {b}")
CHAINS = (
    "{a}, then {b}",
    "{a} and then {b}",
    "{a}. then {b}",
    "first {a}, then {b}",
    "{a}, and with the result {b}",
    "{a}; after that {b}",
    "{a}. after that, {b}",
    "{a} and use that to {b}",
    "{a}, next {b}",
)
CHAINS_HELD = ("{a}, and once you have it {b}", "start with this: {a}. followed by: {b}")
THAT = ("that", "it", "the result", "the answer", "that result", "this", "that value", "what you get")
CHAT = (
    "who wrote (hamlet|faust|dracula|the odyssey)|what is the capital of (peru|norway|kenya|chad)|tell "
    "me a joke|sing a song|write a poem about (love|rain|autumn|cats)|how are you|"
    "what do you think about (politics|football|art)|explain quantum physics|who won the world cup|do "
    "you like (cheese|music|dogs)|what is the meaning of life|"
    "paint a picture of a (horse|house|ship)|recommend a good (book|film|restaurant)|why is the sky blue|"
    "how old is the (earth|sun|moon)|"
    "translate hello into (french|greek|polish)|make me a sandwich|order a pizza|call my (mother|brother|"
    "boss)|play some music|turn off the lights|who are you|what can you cook"
)
