"""The vectors are Binance's own where its documentation gives the secret, and recomputed from its rules else."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from copytrade_binance.signing import Signer
from copytrade_core.errors import AuthenticationFailed
from copytrade_core.model import Credentials

K = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
LIMIT = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "0.1", "recvWindow": "5000"}
MARKET = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "MARKET",
    "quoteOrderQty": "25.00",
    "newClientOrderId": "cp-1-7",
    "newOrderRespType": "FULL",
    "recvWindow": "5000",
    "timestamp": "1700000000000",
}


def signer(secret: str = SECRET) -> Signer:
    return Signer.of(Credentials({"api_key": K, "api_secret": secret}))


def pem(body: str) -> str:
    return f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        pytest.param(
            {"symbol": "LTCBTC", **LIMIT, "timestamp": "1499827319559"},
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
            id="R1",
        ),
        pytest.param(
            {"symbol": "１２３４５６", **LIMIT, "timestamp": "1499827319559"},
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
            id="R2-not-ascii",
        ),
        pytest.param(MARKET, "1e495a1622bf392d04ec7b48d42e1964751068fd58ce22f080ca3f56f8ba0d6f", id="R4"),
    ],
)
def test_a_rest_form_is_encoded_and_then_signed(params, signature):
    form = signer().form(params)

    assert form.endswith(f"&signature={signature}")
    assert form.isascii()


def test_query_and_body_are_signed_joined_without_a_separator():
    query, body = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC", "quantity=1&price=0.1&recvWindow=5000"

    assert signer().sign(f"{query}{body}&timestamp=1499827319559") == (
        "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
    )


WS_LIMIT = {"price": "52000.00", "quantity": "0.01000000", "recvWindow": 100, "side": "SELL", "symbol": "BTCUSDT"}


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        pytest.param(
            {**WS_LIMIT, "timeInForce": "GTC", "timestamp": 1645423376532, "type": "LIMIT"},
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
            id="W1",
        ),
        pytest.param(
            {
                "type": "LIMIT",
                "symbol": "１２３４５６",
                "side": "BUY",
                "price": "0.10000000",
                "quantity": "1.00000000",
                "recvWindow": 5000,
                "timeInForce": "GTC",
                "timestamp": 1645423376532,
            },
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
            id="W2-not-ascii",
        ),
        pytest.param(
            {"timestamp": 1649729878532},
            "1cf54395b336b0a9727ef27d5d98987962bc47aca6e13fe978612d0adee066ed",
            id="W3-logon-and-subscribe",
        ),
        pytest.param(
            {"symbol": "BTCUSDT", "orderId": 12569099453, "timestamp": 1660801720951},
            "2c3aab5a078ee4ea465ecd95523b77289f61476c2f238ec10c55ea6cb11a6f35",
            id="W4-order.status",
        ),
        pytest.param(
            {"timestamp": 1660801839480},
            "83303b4a136ac1371795f465808367242685a9e3a42b22edb4d977d0696eb45c",
            id="W5-account.status",
        ),
        pytest.param(
            {
                "symbol": "BTCUSDT",
                "startTime": 1660780800000,
                "endTime": 1660867200000,
                "limit": 5,
                "timestamp": 1661955123341,
            },
            "f50a972ba7fad92842187643f6b930802d4e20bce1ba1e788e856e811577bd42",
            id="W6-allOrders",
        ),
        pytest.param(
            {
                "symbol": "BTCUSDT",
                "startTime": 1660780800000,
                "endTime": 1660867200000,
                "timestamp": 1661955125250,
            },
            "c5a5ffb79fd4f2e10a92f895d488943a57954edf5933bde3338dfb6ea6d6eefc",
            id="W7-myTrades",
        ),
        pytest.param(MARKET, "5a04da6d504f8e47d4cabc691f8c67b03d81774b6442736597ca57f1e9ac5434", id="W8"),
    ],
)
def test_frame_parameters_are_signed_sorted_and_raw(params, signature):
    assert signer().frame_params(params) == {**params, "apiKey": K, "signature": signature}


E1 = pem("MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u")
E2 = pem("MC4CAQAwBQYDK2VwBCIEIPQmzwVKJETqVd7L9E/DFbkvrOigy1tLL+9QF0mSn6dV")


@pytest.mark.parametrize(
    ("key", "payload", "signature"),
    [
        pytest.param(
            E1,
            "\x01".join(("A", "EXAMPLE", "SPOT", "1", "20240627-11:17:25.223")),
            "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA==",
            id="E1",
        ),
        pytest.param(
            E2,
            "price=50000&quantity=1&side=BUY&symbol=BTCUSDT&timestamp=1631234567890&type=LIMIT",
            "a4Pm3p02D2HXtNfo3DBaVCe9Ov7kledewgYtGjekotFmZ5wXa3mC5AtLB7CpAphyNjeyovIuDP+9fyjYmsojCw==",
            id="E2",
        ),
        pytest.param(
            E1,
            "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2"
            "&timestamp=1668481559918&recvWindow=5000",
            "inDT086KVIP8vgUfw5sV3VTkescWztiAGlf4x8FLKHM4NInsn0c1kYVLoGMO8cyjfR6vmTku2YQE0gtfVVlfCw==",
            id="E3",
        ),
    ],
)
def test_ed25519_signatures_are_those_of_binance(key, payload, signature):
    assert signer(key).sign(payload) == signature


def test_a_base64_signature_is_encoded_in_a_form_and_raw_in_a_frame():
    assert signer(E1).form({"a": "1"}).endswith("%3D%3D")
    assert str(signer(E1).frame_params({"a": "1"})["signature"]).endswith("==")


def test_an_rsa_key_signs_with_pkcs1_v15():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    signature = base64.b64decode(signer(text).sign("a=1"))

    key.public_key().verify(signature, b"a=1", padding.PKCS1v15(), SHA256())


@pytest.mark.parametrize(
    ("api_key", "secret", "kind"),
    [
        pytest.param("", SECRET, "invalid_key", id="no-key"),
        pytest.param("key\nX-Other: 1", SECRET, "invalid_key", id="a-header-in-the-key"),
        pytest.param(K, " ", "wrong_secret", id="no-secret"),
        pytest.param(K, pem("c2VjcmV0LXRleHQ="), "wrong_secret", id="broken-pem"),
    ],
)
def test_what_can_be_no_key_is_refused_without_quoting_it(api_key, secret, kind):
    with pytest.raises(AuthenticationFailed) as caught:
        Signer.of(Credentials({"api_key": api_key, "api_secret": secret}))

    assert caught.value.kind == kind
    assert "c2VjcmV0" not in str(caught.value) and caught.value.__context__ is None
