"""Support tickets from a seed, in five languages, with what is true of each."""

import random
from dataclasses import dataclass

LANGUAGES = ("en", "de", "fr", "es", "ja")
CATEGORIES = ("delivery", "billing", "returns", "account", "technical")
ACTIONS = ("replace", "escalate", "refuse", "refund")
RULES = """- if status is lost then replace
- if amount_eur is over 200 then escalate
- if delivered_days_ago is over 30 then refuse
- otherwise refund"""

NAMES = {
    "en": ("Grace Okafor", "Liam Hughes", "Priya Nair", "Owen Clarke"),
    "de": ("Jürgen Müller", "Anja Groß", "Ömer Şahin", "Käthe Böhm"),
    "fr": ("Élodie Lefèvre", "François Noël", "Zoé Girard", "Anaïs Dupré"),
    "es": ("José Muñoz", "Lucía Ibáñez", "Íñigo Peña", "Begoña Ruiz"),
    "ja": ("佐藤 健", "鈴木 美咲", "高橋 翔", "田中 陽子"),
}
PRODUCTS = ("Aurora lamp", "Kestrel kettle", "Nimbus fan", "Tundra heater", "Vega radio")

OPENINGS = {
    "en": "Hello, please help me with my order {order}, the {product}.",
    "de": "Guten Tag, bitte helfen Sie mir mit der Bestellung {order}, {product}.",
    "fr": "Bonjour, je vous écris pour la commande {order}, {product}.",
    "es": "Hola, por favor, ayúdenme con el pedido {order}, {product}.",
    "ja": "こんにちは。注文 {order} ({product}) についてお願いします。",
}
PROBLEMS = {
    "en": {
        "delivery": "It was due last week and has not arrived.",
        "billing": "My card was charged twice for it.",
        "returns": "It is not for me and I want to send it back.",
        "account": "I cannot log in to see it, my password is refused.",
        "technical": "It does not turn on any more 🔌.",
    },
    "de": {
        "delivery": "Die Ware ist seit einer Woche überfällig und wurde nicht geliefert.",
        "billing": "Der Betrag wurde doppelt abgebucht.",
        "returns": "Ich möchte die Ware zurückschicken, sie ist nicht das Richtige.",
        "account": "Ich kann mich nicht anmelden, mein Passwort wird nicht angenommen.",
        "technical": "Das Gerät ist defekt, es reagiert nicht 🔌.",
    },
    "fr": {
        "delivery": "La livraison est en retard et je n'ai rien reçu.",
        "billing": "Mon compte est débité deux fois pour la même facture.",
        "returns": "Le produit ne me convient pas et je veux le renvoyer.",
        "account": "Mon mot de passe est refusé depuis hier.",
        "technical": "Le produit est en panne depuis hier 🔌.",
    },
    "es": {
        "delivery": "El paquete no ha llegado y lo espero desde hace una semana.",
        "billing": "Me han cobrado dos veces por el mismo artículo.",
        "returns": "No es lo que esperaba y quiero devolverlo.",
        "account": "La contraseña no funciona y no puedo entrar.",
        "technical": "El aparato no se enciende desde ayer 🔌.",
    },
    "ja": {
        "delivery": "一週間待っていますが、まだ届いていません。",
        "billing": "カードに二重請求がありました。",
        "returns": "思っていたものと違うので、返品したいです。",
        "account": "ログインできません。パスワードが拒否されます。",
        "technical": "電源が入らなくなりました🔌。",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What the shop's own database knows."""

    order_id: str
    status: str  # delivered or lost
    amount_eur: float
    delivered_days_ago: int | None  # None when it never arrived


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """One ticket and the truth about it."""

    ticket_id: str
    language: str
    category: str
    customer: str
    email: str
    order: Order
    text: str

    @property
    def action(self) -> str:
        """What ``RULES`` say should be done."""
        if self.order.status == "lost":
            return "replace"
        if self.order.amount_eur > 200:
            return "escalate"
        return "refuse" if (self.order.delivered_days_ago or 0) > 30 else "refund"


def tickets(count: int, *, seed: int) -> list[Ticket]:
    """Return ``count`` tickets; languages and categories take turns, the rest is drawn."""
    rng = random.Random(seed)  # noqa: S311 - made-up data
    return [_ticket(number, rng) for number in range(count)]


def _ticket(number: int, rng: random.Random) -> Ticket:
    language = LANGUAGES[number % len(LANGUAGES)]
    category = CATEGORIES[(number + number // len(LANGUAGES)) % len(CATEGORIES)]
    customer = rng.choice(NAMES[language])
    email = f"{language}.customer{number}@example.com"
    order_id = f"{rng.choice(('DE', 'FR', 'GB', 'JP'))}-{rng.randint(100_000, 999_999)}"
    lost = rng.random() < 0.2
    order = Order(
        order_id=order_id,
        status="lost" if lost else "delivered",
        amount_eur=round(rng.uniform(15, 320), 2),
        delivered_days_ago=None if lost else rng.randint(1, 60),
    )
    product = rng.choice(PRODUCTS)
    opening = OPENINGS[language].format(order=order_id, product=product)
    # Not everybody puts the order into the subject, where a plain pattern would find it.
    subject = product if number % 3 == 2 else order_id
    text = f"From: {customer} <{email}>\nSubject: {subject}\n\n{opening}\n"
    text += PROBLEMS[language][category]
    return Ticket(
        ticket_id=f"T-{seed_name(rng)}-{number:04}",
        language=language,
        category=category,
        customer=customer,
        email=email,
        order=order,
        text=text,
    )


def seed_name(rng: random.Random) -> str:
    """Return four letters that keep tickets of different runs apart."""
    return "".join(rng.choices("abcdefghjkmnpqrstuvwxyz", k=4))
