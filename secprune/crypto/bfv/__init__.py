"""BFV encryption of packed pruning masks: parameters, arithmetic, wire form, and the calls into SEAL.

    parameters   the smallest ring that holds the sum: chosen from the roster, the same at every party
    ring         numpy arithmetic modulo the primes: adding, switching a modulus, decoding
    wire         bit-packed bytes and the strict parser in front of everything that comes from others
    hashing      linear hashes that bind a sum of ciphertexts to the clients in it
    keys         key shares, the joint public key, flooding noise
    seal_backend the only importer of tenseal: transforms, encryptions of zero, products with a key share
    scheme       encrypt, and multiply by a key share: what clients and key holders call
    decoding     from a decrypted sum to words

Only clients and key holders need tenseal; an aggregator adds with numpy.
"""
