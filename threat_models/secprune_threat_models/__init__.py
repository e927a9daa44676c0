"""The catalogue of what parties keep and see, as data. The library never imports it."""
