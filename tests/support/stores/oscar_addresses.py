"""Addresses in ten countries, as customers there write them; HK and AE have no postcodes."""

_NAME = {"first_name": "Grace", "last_name": "Guest"}


def _make_address(country: str, line1: str, city: str, state: str, postcode: str) -> dict[str, str]:
    place = {"line1": line1, "line4": city, "state": state, "postcode": postcode}
    return {**_NAME, **place, "country": country}


ADDRESSES = {
    address["country"]: address
    for address in (
        _make_address("US", "1 Main Street", "Springfield", "Illinois", "62701"),
        _make_address("DE", "Torstraße 1", "Berlin", "", "10119"),
        _make_address("GB", "10 Downing Street", "London", "", "sw1a2aa"),
        _make_address("IE", "1 O'Connell Street", "Dublin", "", ""),
        _make_address("HK", "1 Nathan Road", "", "Kowloon", ""),
        _make_address("AE", "1 Sheikh Zayed Road", "Dubai", "Dubai", ""),
        _make_address("JP", "千代田1-1", "", "東京都", "100-0001"),
        _make_address("BR", "Rua Augusta 1", "São Paulo", "SP", "01305-000"),
        _make_address("IN", "1 MG Road", "Bengaluru", "Karnataka", "560001"),
        _make_address("NZ", "1 Queen Street", "Auckland", "", "1010"),
    )
}
#: Further countries without a postcode in their addresses.
WITHOUT_POSTCODE = ("PA", "JM")
#: A postcode that is not one of the country.
INVALID_POSTCODES = {
    "US": "ABC",
    "DE": "1234",
    "GB": "12345",
    "IN": "56000",
    "BR": "1",
    "NZ": "123",
}
