"""Where a model's bytes come from (HTTP, IPFS gateways, folders) and the verified download over them. Runs anywhere.

No source is trusted: `plan` lists places, `download` takes chunks from them and hands on only those that fit their leaf.
"""
