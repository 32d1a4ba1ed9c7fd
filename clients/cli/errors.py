"""What the command line itself refuses or fails with; everything else comes from below.

* DepaError           (policies.errors) exit code 1 unless it says otherwise
  + UsageError        2  the command, a setting or a file given to it is wrong
  + NotFoundError     3  a file, contract, run or key is not there (yet)
  + Refused           4  a check said no
  + NetworkError      5  a service did not answer; trying again may help
  + SignInError       6  the passphrase is missing or wrong
"""

from __future__ import annotations

from policies.errors import DepaError


class UsageError(DepaError):
    """The command, a setting or a file given to it is wrong."""

    code = "usage"
    exit_code = 2
    http_status = 400


class NotFoundError(DepaError):
    """Something named on the command line is not there, or not there yet."""

    code = "not-found"
    exit_code = 3
    http_status = 404


class Refused(DepaError):
    """A check said no."""

    code = "refused"
    exit_code = 4
    http_status = 403


class NetworkError(DepaError):
    """A service did not answer."""

    code = "network"
    exit_code = 5
    http_status = 503


class SignInError(DepaError):
    """The keystore stays closed: no passphrase, or not the right one."""

    code = "sign-in"
    exit_code = 6
    http_status = 401
