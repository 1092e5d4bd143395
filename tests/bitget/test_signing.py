import pytest

from copytrade_bitget.signing import Signer
from copytrade_core.model import Credentials

BODY_V2 = '{"symbol":"BTCUSDT","side":"buy","orderType":"market","force":"gtc","size":"25","clientOid":"ct0001"}'
BODY_V3 = '{"category":"SPOT","symbol":"BTCUSDT","side":"buy","orderType":"market","qty":"25","clientOid":"ct0001"}'


@pytest.fixture
def signer() -> Signer:
    return Signer(Credentials({"api_key": "k", "api_secret": "bitget-test-secret", "passphrase": "p"}))


@pytest.mark.parametrize(
    ("method", "target", "body", "signature"),
    [
        pytest.param(
            "GET", "/api/v2/spot/account/assets?coin=USDT", "", "5N/beg6s8gYeoNcsQXQ26Mn+L7kCPU/ffgzOc350Vuw=", id="get"
        ),
        pytest.param(
            "POST", "/api/v2/spot/trade/place-order", BODY_V2, "l+RkMT86VC8qDTFoRyhTfFppTxqOkWlINra8wjMH1sI=", id="v2"
        ),
        pytest.param(
            "POST", "/api/v3/trade/place-order", BODY_V3, "yo/UOLBo9WUri51eMlcFdX6SBAtkTaeze9TinRlVCLY=", id="v3"
        ),
    ],
)
def test_a_request_is_signed_as_the_published_rule_says(signer, method, target, body, signature):
    headers = signer.headers(1700000000000, method, target, body)

    assert headers["ACCESS-SIGN"] == signature
    assert headers["ACCESS-TIMESTAMP"] == "1700000000000"


def test_a_socket_login_is_signed_in_seconds(signer):
    assert signer.login(1700000000) == {
        "apiKey": "k",
        "passphrase": "p",
        "timestamp": "1700000000",
        "sign": "IXyPTmdHRT/6ztnL43oetPqmHnqSdBHzWOQM5q5Oi7Q=",
    }


def test_a_signer_shows_no_secret(signer):
    assert repr(signer) == "<Signer>"
