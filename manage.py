#!/usr/bin/env python
"""Django's command line."""

import sys

from esassistant.command_line import main

if __name__ == "__main__":
    main(sys.argv)
