"""The report page: scores of one or more systems as one HTML file that needs no network."""
