# Similarities of texts and stems of words by RapidFuzz, NLTK and rouge-score: test/fixtures/text-similarity.json, which
# packages/core/src/graders is compared with. METEOR runs without WordNet, which graders do not have.
# usage: pip install rapidfuzz nltk rouge-score; python scripts/make_similarity_fixture.py
import json
import random
import warnings

from nltk.stem.porter import PorterStemmer
from nltk.tokenize import wordpunct_tokenize as split
from nltk.translate.bleu_score import sentence_bleu
from nltk.translate.gleu_score import sentence_gleu
from nltk.translate.meteor_score import single_meteor_score
from rapidfuzz import fuzz
from rouge_score import rouge_scorer

warnings.filterwarnings("ignore")
ROUGE = {f"rouge_{n}": f"rouge{n}" for n in range(1, 6)} | {"rouge_l": "rougeL"}
STEMMER = PorterStemmer(mode="MARTIN_EXTENSIONS")
WORDS = """run running runner ran hopping hopped hope hoped relation relational conditional rationally happy happily fly flies dies
agreed feed plastered motoring conflated troubled sized falling hissing failing filing sky vileness formalize electricity electrical
hopeful goodness revival allowance inference airliner gyroscopic adjustable defensible irritant replacement adjustment dependent
adoption communism activate angularity homologous effective bowdlerize probate rate cease controll roll the a of""".split()
MORE = """caresses ponies ties caress cats bled sing tanned fizzed digitizer conformably radically differently analogously
vietnamization predication operator feudalism decisiveness hopefulness callousness formality sensitivity sensibility triplicate
formative generalizations oscillators yes year say syzygy toy enjoy enjoyed trying apology geology possibly abilities by is as us
ion onion occasion matting mating controlling rolled""".split()
PAIRS = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("fuzzy wuzzy was a bear", "fuzzy wuzzy had no hair"),
    ("It is a guide to action which ensures that the military always obeys the commands of the party.",
     "It is a guide to action that ensures that the military will forever heed Party commands."),
    ("", ""), ("", "something"), ("word", ""), ("one two three", "four five six"),
    ("Nationalists' relational organizations were happily hoping; skies, tying & agreed plies!",
     "The nationalist relates: organized happiness hopes for the sky, ties and agrees to ply."),
    ("Straße über Köln – naïve café, 東京", "Strasse über Köln - naive café, 東京!"),
    ("a b a b a b c d", "b a b a c d a b"),
    ("The quick brown fox jumps over the lazy dog. The dog sleeps on.",
     "A quick brown fox jumped over the lazy dogs, and the dog slept on."),
    ("🙂🙃 ok", "🙃🙂 ok"),
]


class NoWordNet:
    def synsets(self, _):
        return []


def random_pairs(count):
    source = random.Random(1)
    for _ in range(count):
        text = [source.choice(WORDS) for _ in range(source.randint(3, 14))]
        reference = [source.choice(WORDS) if source.random() < 0.35 else word for word in text]
        if source.random() < 0.3:
            source.shuffle(reference)
        yield " ".join(text), " ".join(reference)


def measure(text, reference):
    words, wanted = split(text), split(reference)
    rouge = rouge_scorer.RougeScorer(list(ROUGE.values())).score(reference, text)
    return {
        "fuzzy_match": fuzz.ratio(text, reference) / 100,
        "bleu": sentence_bleu([wanted], words),
        "gleu": sentence_gleu([wanted], words),
        "meteor": single_meteor_score(wanted, words, stemmer=STEMMER, wordnet=NoWordNet()),
        **{name: rouge[theirs].fmeasure for name, theirs in ROUGE.items()},
    }


pairs = [
    {"text": text, "reference": reference,
     "measures": {name: round(float(value), 9) for name, value in measure(text, reference).items()}}
    for text, reference in [*PAIRS, *random_pairs(12)]
]
stems = {word: STEMMER.stem(word) for word in sorted({*WORDS, *MORE})}
with open("test/fixtures/text-similarity.json", "w") as file:
    json.dump({"pairs": pairs, "stems": stems}, file, ensure_ascii=False, indent=1)
    file.write("\n")
