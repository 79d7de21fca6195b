"""The kernels of an ISA that this machine lacks, executed by an emulated CPU that has it: see docs/verification.md."""
