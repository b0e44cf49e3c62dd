"""The use cases: plain values in, one frozen result out, progress through a callback. Nothing here prints or exits."""
