"""How recipes and profiles are read and checked: strict YAML, grammars, overrides, schemas, starters."""
