"""What commands share: options, how rows are read, how results are printed, how help looks."""
