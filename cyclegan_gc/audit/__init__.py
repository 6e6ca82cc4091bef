"""The audit before training: facts of each volume, checks of one volume and of whole sets, and the contact sheet."""
