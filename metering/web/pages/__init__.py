"""The pages of the dashboard, one module each: addresses, place in the menu, and what a page takes from the view.

A page hands figures to its template in reports/web/ and computes none. A new page is a new module here and a template.
"""
