"""Where texts come from: our own articles, public training sets, translations; and checks of them."""
