"""Many tracks unattended: what is found, planned, done and recorded, and by which run."""
