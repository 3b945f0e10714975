"""The configs, data descriptions and studies that come with the package: data files only."""
