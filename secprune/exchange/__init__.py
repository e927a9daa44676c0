"""How bytes move between parties: an untrusted bulletin board.

It can lose, delay or alter anything; the worst that comes of it is that nothing is released.
"""
