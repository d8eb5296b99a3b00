"""What the tests of the web console show to it: samples, a video, and gateways in a process of their own."""
