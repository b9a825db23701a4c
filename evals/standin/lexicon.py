"""What a stand-in knows of the world: words that give a topic, a language or a field away."""

import re

TOPICS: dict[str, tuple[str, ...]] = {
    "delivery": (
        "not arrived", "never arrived", "delivery", "parcel", "geliefert", "lieferung", "paket",
        "livraison", "colis", "entrega", "paquete", "配送", "届い",
    ),
    "billing": (
        "charged twice", "billing", "double charge", "doppelt abgebucht", "abbuchung",
        "débité deux fois", "prélèvement", "cobrado dos veces", "cargo", "二重請求", "請求",
    ),
    "returns": (
        "send it back", "return it", "zurückschicken", "rücksendung", "renvoyer", "retourner",
        "devolverlo", "devolución", "返品",
    ),
    "account": (
        "password", "log in", "passwort", "anmelden", "mot de passe", "connecter", "contraseña",
        "iniciar sesión", "パスワード", "ログイン",
    ),
    "technical": (
        "does not turn on", "stopped working", "schaltet sich nicht ein", "defekt", "ne s'allume",
        "en panne", "no se enciende", "averiado", "電源", "故障",
    ),
    "invoice": ("invoice no", "rechnung nr", "facture n"),
    "credit note": ("credit note", "gutschrift", "avoir n"),
    "reminder": ("payment reminder", "mahnung", "rappel de paiement"),
    "order confirmation": ("order confirmation", "auftragsbestätigung", "confirmation de commande"),
}  # fmt: skip

LANGUAGES: dict[str, tuple[str, ...]] = {
    "en": ("the", "my", "please", "and", "is", "for", "with"),
    "de": ("ich", "bitte", "und", "ist", "der", "die", "mit", "für", "nicht"),
    "fr": ("le", "la", "je", "vous", "est", "et", "pour", "avec", "mon", "ma"),
    "es": ("el", "mi", "por", "favor", "y", "no", "con", "una", "lo"),
}

LABELS: dict[str, tuple[str, ...]] = {
    "invoice_number": ("invoice no", "rechnung nr", "facture n°"),
    "supplier": ("supplier", "lieferant", "fournisseur"),
    "customer": ("customer", "kunde", "client"),
    "issue_date": ("date of issue", "ausgestellt am", "date d'émission"),
    "due_date": ("due date", "fällig am", "échéance"),
    "purchase_order": ("purchase order", "bestellung", "bon de commande"),
    "net_amount": ("net", "netto", "hors taxe"),
    "tax_amount": ("tax", "steuer", "tva"),
    "total": ("total", "gesamt", "montant total"),
    "currency": ("currency", "währung", "devise"),
    "iban": ("iban",),
    "vat_id": ("vat id", "ust-id", "n° tva"),
    "contact": ("contact", "ansprechpartner", "interlocuteur"),
    "phone": ("phone", "telefon", "téléphone"),
    "payment_terms": ("payment terms", "zahlungsziel", "conditions de paiement"),
}

PATTERNS: dict[str, re.Pattern[str]] = {
    "order_id": re.compile(r"\b[A-Z]{2}-\d{6}\b"),
    "email": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
}

KANA = re.compile(r"[\u3040-\u30ff]")
WORD = re.compile(r"[^\W\d_]+")


def language(text: str) -> str:
    """Return the language code that most of the words of ``text`` speak for."""
    if KANA.search(text):
        return "ja"
    words = [word.casefold() for word in WORD.findall(text)]
    return max(LANGUAGES, key=lambda code: sum(word in LANGUAGES[code] for word in words))


def topic(text: str, choices: list[str]) -> str:
    """Return the one of ``choices`` that ``text`` speaks of first; the first choice when none."""
    lowered = text.casefold()

    def first_mention(choice: str) -> int:
        words = TOPICS.get(choice.casefold(), (choice.casefold(),))
        return min((lowered.find(w) for w in words if w in lowered), default=len(lowered))

    return min(choices, key=first_mention)


def field(name: str, text: str) -> str | None:
    """Return the value that ``text`` gives for a field: by label, else by its usual pattern."""
    key = re.sub(r"\W+", "_", name.casefold()).strip("_")
    labels = (key.replace("_", " "), *LABELS.get(key, ()))
    for line in text.splitlines():
        label, colon, value = line.partition(":")
        if colon and label.strip().casefold() in labels and value.strip():
            return value.strip()
    pattern = PATTERNS.get(key)
    found = pattern.search(text) if pattern else None
    return found.group() if found else None
