"""HUBLATCH_API_URL=... HUBLATCH_API_KEY_FILE=... python3 -m hublatch_client alice --path lab --launch"""

import argparse
import sys

from . import Hublatch, HublatchError


def main() -> None:
    parser = argparse.ArgumentParser(
        "hublatch-client", description="Prints a login link; with --launch also how the server starts."
    )
    parser.add_argument("username")
    parser.add_argument("--path")
    parser.add_argument("--server")
    parser.add_argument("--launch", action="store_true")
    parser.add_argument("--ca-file", help="authorities to trust at an https address, PEM")
    arguments = vars(parser.parse_args())
    ca_file = arguments.pop("ca_file")
    order = {name: value for name, value in arguments.items() if value}
    try:
        latch = Hublatch.from_environment(ca_file=ca_file)
        link = latch.link(order.pop("username"), **order)
        print(link["url"], flush=True)
        for event in latch.progress(link) if "server" in link else ():
            print(f"{event['progress']:3} % {event['message']}", file=sys.stderr, flush=True)
            if event.get("failed"):
                sys.exit(1)
    except HublatchError as error:
        sys.exit(f"hublatch: {error}")


if __name__ == "__main__":
    main()
