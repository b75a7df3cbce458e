"""Lesions of many participants: tables read, statistics computed, tables written."""
