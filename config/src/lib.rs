//! What the operator wrote, made into what ironlb means: parse, validate, report.
