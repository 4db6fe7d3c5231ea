"""When, over which socket?  Sources, scraping, local pods, the syncer, the admin face."""
