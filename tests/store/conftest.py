"""What tests of the store begin with."""

from collections.abc import AsyncIterator

import pytest
from tests.store.kit import PAYER, Bench, opened

from treasuryd.sqlite.inline import InlineDriver


@pytest.fixture
async def payer() -> AsyncIterator[Bench]:
    """A bench whose payer's account is adopted."""
    driver = await opened(InlineDriver)
    bench = Bench(driver)
    await bench.adopt(PAYER)
    yield bench
    await driver.close()
