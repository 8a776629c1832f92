"""Where simulated centers stand: real cities at approximate coordinates; everything else about them is invented."""

from __future__ import annotations

from typing import NamedTuple


class City(NamedTuple):
    """`tier`: the city's size class in this simulation, no official list; `weight`: its share of centers."""

    short: str
    city: str
    district: str
    province: str
    latitude: float
    longitude: float
    tier: str
    weight: int


PLACES = (
    City("LHE", "Lahore", "Lahore", "Punjab", 31.55, 74.34, "one", 12),
    City("FSD", "Faisalabad", "Faisalabad", "Punjab", 31.42, 73.09, "one", 6),
    City("RWP", "Rawalpindi", "Rawalpindi", "Punjab", 33.60, 73.04, "one", 6),
    City("MUX", "Multan", "Multan", "Punjab", 30.20, 71.47, "one", 5),
    City("GRW", "Gujranwala", "Gujranwala", "Punjab", 32.16, 74.19, "two", 4),
    City("SKT", "Sialkot", "Sialkot", "Punjab", 32.49, 74.53, "two", 3),
    City("BWP", "Bahawalpur", "Bahawalpur", "Punjab", 29.40, 71.68, "two", 3),
    City("SGD", "Sargodha", "Sargodha", "Punjab", 32.08, 72.67, "two", 3),
    City("DGK", "Dera Ghazi Khan", "Dera Ghazi Khan", "Punjab", 30.06, 70.63, "three", 2),
    City("RYK", "Rahim Yar Khan", "Rahim Yar Khan", "Punjab", 28.42, 70.30, "three", 2),
    City("MWL", "Mianwali", "Mianwali", "Punjab", 32.58, 71.54, "three", 1),
    City("KHI", "Karachi", "Karachi", "Sindh", 24.86, 67.01, "one", 12),
    City("HYD", "Hyderabad", "Hyderabad", "Sindh", 25.39, 68.37, "one", 4),
    City("SKZ", "Sukkur", "Sukkur", "Sindh", 27.71, 68.86, "two", 3),
    City("LRK", "Larkana", "Larkana", "Sindh", 27.56, 68.21, "three", 2),
    City("MPD", "Mirpur Khas", "Mirpur Khas", "Sindh", 25.53, 69.01, "three", 1),
    City("PEW", "Peshawar", "Peshawar", "Khyber Pakhtunkhwa", 34.01, 71.57, "one", 5),
    City("MDX", "Mardan", "Mardan", "Khyber Pakhtunkhwa", 34.20, 72.04, "two", 2),
    City("ATD", "Abbottabad", "Abbottabad", "Khyber Pakhtunkhwa", 34.15, 73.21, "two", 2),
    City("SWT", "Mingora", "Swat", "Khyber Pakhtunkhwa", 34.78, 72.36, "three", 2),
    City("DIK", "Dera Ismail Khan", "Dera Ismail Khan", "Khyber Pakhtunkhwa", 31.83, 70.90, "three", 1),
    City("UET", "Quetta", "Quetta", "Balochistan", 30.18, 66.99, "one", 3),
    City("TBT", "Turbat", "Kech", "Balochistan", 26.00, 63.05, "three", 1),
    City("GWD", "Gwadar", "Gwadar", "Balochistan", 25.13, 62.33, "three", 1),
    City("KDZ", "Khuzdar", "Khuzdar", "Balochistan", 27.81, 66.61, "three", 1),
    City("ISB", "Islamabad", "Islamabad", "Islamabad Capital Territory", 33.69, 73.05, "one", 5),
    City("MZD", "Muzaffarabad", "Muzaffarabad", "Azad Jammu and Kashmir", 34.37, 73.47, "two", 2),
    City("MRP", "Mirpur", "Mirpur", "Azad Jammu and Kashmir", 33.15, 73.75, "three", 1),
    City("GIL", "Gilgit", "Gilgit", "Gilgit-Baltistan", 35.92, 74.31, "two", 1),
    City("KDU", "Skardu", "Skardu", "Gilgit-Baltistan", 35.30, 75.63, "three", 1),
)

# Invented carriers: a staged outage must not read as a statement about a real company. (name, round trip it adds in ms)
CARRIERS = (
    ("Simulated Fibre One", 4.0),
    ("Simulated Fibre Two", 7.0),
    ("Simulated Cable", 12.0),
    ("Simulated Wireless", 24.0),
    ("Simulated DSL", 18.0),
)
