"""From trained layers to integers: plan, fold, calibrate, lower, simulate and write."""
