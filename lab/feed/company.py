"""The company, its shop and its warehouse: names, places, tax codes, carriers."""

from decimal import Decimal
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/London")


CURRENCY = "GBP"


SHOP = "shop"


WAREHOUSE = "warehouse"


#: WhsCode -> the warehouse's own name for it. What the website dotcomgiftshop sold (carriage DOT) lies apart.
PLACES = {"LON1": "MAIN", "WEB1": "DOTCOM"}


#: A place that the configuration does not map: goods which the text says are with Amazon.
UNMAPPED = "AMAZON"


TAX_CODES = {"GB-20": "O1", "GB-0": "O0"}


CARRIERS = {"royal-mail/tracked-48": 1, "dpd/next-day": 2, "dhl": 3}


VAT = {True: ("GB-20", Decimal(20)), False: ("GB-0", Decimal(0))}


# ISO 3166-1 alpha-2 of the data's country names; what is missing here ("Unspecified", say) names no one country.
COUNTRIES = {
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Brazil": "BR",
    "Canada": "CA",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "USA": "US",
    "United Arab Emirates": "AE",
    "United Kingdom": "GB",
}
