"""The scores there are, a file each: what stands in this folder is found by itself."""
