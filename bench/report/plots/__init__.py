"""Pictures: each kind has a file that says what is to be seen, as plain data, and one that draws it."""

import logging

# It talks of the cache of fonts that it builds once, of where else it puts that, and of letters that no font has.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
