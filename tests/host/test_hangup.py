import os
import signal

from treasuryd.host import hangup


def test_a_hangup_is_kept_until_it_is_asked_for() -> None:
    """Its default would end this process."""
    before = signal.getsignal(signal.SIGHUP)
    try:
        hangup.keep()
        assert not hangup.came()
        os.kill(os.getpid(), signal.SIGHUP)
        assert hangup.came()
        assert not hangup.came()
    finally:
        signal.signal(signal.SIGHUP, before)
