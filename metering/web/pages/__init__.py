"""The pages of the dashboard, one module each: address, place in the menu, and the figures of the page.

A page hands figures to its template in reports/web/ and computes none. A new page is a new module here and a template.
"""
