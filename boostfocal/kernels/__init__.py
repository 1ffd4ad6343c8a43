"""The row formulas (`rows`) and what compiles them for each device (`cpu`)."""
