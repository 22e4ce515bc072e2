"""A load harness: nginx, trioproxy and a direct connection under the same load, in one run. See README.md."""
