"""Invoices and their kin from a seed, in three languages, with what is true of each."""

import random
import re
from dataclasses import dataclass
from datetime import date, timedelta

LANGUAGES = ("en", "de", "fr")
KINDS = ("invoice", "credit note", "reminder", "order confirmation")

TITLES = {
    "en": ("Invoice no. {n}", "Credit note {n}", "Payment reminder {n}", "Order confirmation {n}"),
    "de": ("Rechnung Nr. {n}", "Gutschrift {n}", "Mahnung {n}", "Auftragsbestätigung {n}"),
    "fr": ("Facture n° {n}", "Avoir n° {n}", "Rappel de paiement {n}",
        "Confirmation de commande {n}"),
}  # fmt: skip
LABELS = {
    "en": {
        "supplier": "Supplier", "customer": "Customer", "invoice_number": "Invoice no",
        "issue_date": "Date of issue", "due_date": "Due date", "purchase_order": "Purchase order",
        "currency": "Currency", "net_amount": "Net", "tax_amount": "Tax", "total": "Total",
        "iban": "IBAN", "vat_id": "VAT ID", "contact": "Contact", "phone": "Phone",
        "payment_terms": "Payment terms",
    },
    "de": {
        "supplier": "Lieferant", "customer": "Kunde", "invoice_number": "Rechnung Nr",
        "issue_date": "Ausgestellt am", "due_date": "Fällig am", "purchase_order": "Bestellung",
        "currency": "Währung", "net_amount": "Netto", "tax_amount": "Steuer", "total": "Gesamt",
        "iban": "IBAN", "vat_id": "USt-ID", "contact": "Ansprechpartner", "phone": "Telefon",
        "payment_terms": "Zahlungsziel",
    },
    "fr": {
        "supplier": "Fournisseur", "customer": "Client", "invoice_number": "Facture n°",
        "issue_date": "Date d'émission", "due_date": "Échéance",
        "purchase_order": "Bon de commande", "currency": "Devise", "net_amount": "Hors taxe",
        "tax_amount": "TVA", "total": "Montant total", "iban": "IBAN", "vat_id": "N° TVA",
        "contact": "Interlocuteur", "phone": "Téléphone",
        "payment_terms": "Conditions de paiement",
    },
}  # fmt: skip
CLOSINGS = {
    "en": "Please pay with the number of the document and thank you for the order.",
    "de": "Bitte überweisen Sie mit der Nummer und vielen Dank für die Bestellung.",
    "fr": "Merci pour votre confiance et pour le règlement avec la référence.",
}
TERMS = {"en": "30 days net", "de": "30 Tage netto", "fr": "30 jours net"}
SUPPLIERS = {
    "en": ("Harbour & Sons", "Blue Finch Ltd"),
    "de": ("Größe GmbH", "Schäfer Söhne KG"),
    "fr": ("Café Élan SARL", "Forêt Bleue SAS"),
}
CONTACTS = {"en": "Maeve O'Neill", "de": "Jörg Weiß", "fr": "Chloé Béranger"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One document; ``truth`` holds the right answer of each mechanical step by its name."""

    document_id: str
    language: str
    text: str
    truth: dict[str, str]


def documents(count: int, *, seed: int) -> list[Document]:
    """Return ``count`` documents; languages and kinds take turns, the rest is drawn."""
    rng = random.Random(seed)  # noqa: S311 - made-up data
    return [_document(number, rng) for number in range(count)]


def _document(number: int, rng: random.Random) -> Document:
    language = LANGUAGES[number % len(LANGUAGES)]
    kind = KINDS[(number + number // len(LANGUAGES)) % len(KINDS)]
    net = round(rng.uniform(1_000, 9_000), 2)
    tax = round(net * 0.2, 2)
    agree = rng.random() < 0.7
    total = round(net + tax + (0.0 if agree else 1.0), 2)
    issued = date(2026, 1, 1) + timedelta(days=rng.randint(0, 300))
    due = issued + timedelta(days=30)
    items = rng.randint(2, 5)
    plain = {
        "supplier": rng.choice(SUPPLIERS[language]),
        "customer": "Tierwise Demo Ltd",
        "invoice_number": f"{rng.choice('ABC')}{rng.randint(10_000, 99_999)}",
        "purchase_order": f"PO-{rng.randint(1_000, 9_999)}",
        "currency": rng.choice(("EUR", "CHF", "GBP")),
        "iban": f"XX{rng.randint(10, 99)} {rng.randint(1000, 9999)} {rng.randint(1000, 9999)}",
        "vat_id": f"{language.upper()}{rng.randint(10**8, 10**9 - 1)}",
        "contact": CONTACTS[language],
        "phone": f"+{rng.randint(30, 49)} {rng.randint(100, 999)} {rng.randint(10**4, 10**5 - 1)}",
        "payment_terms": TERMS[language],
    }
    shown = plain | {
        "issue_date": _day(issued, language),
        "due_date": _day(due, language),
        "net_amount": _amount(net, language),
        "tax_amount": _amount(tax, language),
        "total": _amount(total, language),
    }
    truth = plain | {
        "kind": kind,
        "language": language,
        "issue_date": issued.isoformat(),
        "due_date": due.isoformat(),
        "net_amount": f"{net:.2f}",
        "tax_amount": f"{tax:.2f}",
        "total": f"{total:.2f}",
        "line_items": str(items),
        "sums_agree": "yes" if agree else "no",
        "file_name": _slug(plain["supplier"], plain["invoice_number"]),
    }
    return Document(
        document_id=f"D-{rng.randint(1_000, 9_999)}-{number:04}",
        language=language,
        text=_text(language, kind, shown, items),
        truth=truth,
    )


def _text(language: str, kind: str, shown: dict[str, str], items: int) -> str:
    title = TITLES[language][KINDS.index(kind)].format(n=shown["invoice_number"])
    lines = [title, ""]
    lines += [f"{label}: {shown[name]}" for name, label in LABELS[language].items()]
    lines += ["", *(f"{n + 1} x Aurora 灯 #{n + 1}" for n in range(items)), "", CLOSINGS[language]]
    return "\n".join(lines)


def _day(day: date, language: str) -> str:
    return day.strftime("%d.%m.%Y" if language == "de" else "%d/%m/%Y")


def _amount(value: float, language: str) -> str:
    english = f"{value:,.2f}"
    if language == "en":
        return english
    point = "." if language == "de" else " "
    return english.replace(",", point)[:-3] + "," + english[-2:]


def _slug(supplier: str, number: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{supplier} {number}".casefold()).strip("-") + ".pdf"
